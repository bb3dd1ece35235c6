//! Servers with their least configuration: a page at `/`, where they can a body in chunks at `/chunked`, and a log with
//! one line for each request.

use std::fs::File;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::common::Guard;

/// A running server.
pub struct Site {
    pub name: &'static str,
    pub address: SocketAddr,
    pub log: Log,
    /// Whether `/chunked` is answered in chunks.
    pub has_chunks: bool,
    /// Whether a request with a body is answered with 200.
    pub takes_bodies: bool,
    _server: Group,
    _folder: TempDir,
}

/// A server with its workers, which are killed with it.
struct Group(Guard);

impl Drop for Group {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = killpg(Pid::from_raw(self.0.0.id() as i32), Signal::SIGKILL);
    }
}

/// Where a server writes a line for each request.
pub struct Log(PathBuf);

impl Log {
    /// The lines about requests.
    pub fn lines(&self) -> Vec<String> {
        let text = std::fs::read(&self.0).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole
            .lines()
            .filter(|line| line.contains("HTTP/1."))
            .map(str::to_owned)
            .collect()
    }
}

/// A folder, a free port, and what is made of them.
struct Place {
    folder: TempDir,
    port: u16,
}

impl Place {
    fn new(salt: u16) -> Self {
        // Below the range from which port 0 is taken, so that no test that runs meanwhile is given it.
        let candidates = (0..1000).map(|step| {
            10_000
                + (std::process::id() as u16)
                    .wrapping_mul(7)
                    .wrapping_add(salt + step)
                    % 20_000
        });
        let mut free = candidates.filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().join("root");
        std::fs::create_dir(&root).expect("a folder");
        std::fs::write(root.join("index.html"), "hello\n").expect("written");
        Self {
            folder,
            port: free.next().expect("a free port"),
        }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn write(&self, name: &str, text: &str) -> String {
        std::fs::write(self.folder.path().join(name), text).expect("written");
        self.path(name)
    }

    /// Starts the server, whose stdout and stderr go to `printed`; `None` with a printed reason where it is not
    /// installed.
    fn start(self, name: &'static str, mut command: Command, log: &str) -> Option<Site> {
        let printed = File::create(self.folder.path().join("printed")).expect("a file");
        let errors = printed.try_clone().expect("a descriptor");
        command
            .stdin(Stdio::null())
            .stdout(printed)
            .stderr(errors)
            .current_dir(self.folder.path())
            .process_group(0);
        let mut server = match command.spawn() {
            Ok(child) => Group(Guard(child)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                println!("skipped: {name} is not installed");
                return None;
            }
            Err(error) => panic!("{name}: {error}"),
        };
        let address = SocketAddr::from(([127, 0, 0, 1], self.port));
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(address).is_err() {
            let said = || std::fs::read_to_string(self.path("printed")).unwrap_or_default();
            assert!(
                Instant::now() < deadline,
                "{name} does not listen: {}",
                said()
            );
            assert!(
                server.0.0.try_wait().expect("a child").is_none(),
                "{name} ended: {}",
                said()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        Some(Site {
            name,
            address,
            log: Log(Path::new(&self.path(log)).to_owned()),
            has_chunks: true,
            takes_bodies: true,
            _server: server,
            _folder: self.folder,
        })
    }
}

pub fn nginx() -> Option<Site> {
    let place = Place::new(0);
    let config = format!(
        "daemon off; master_process off; pid nginx.pid; error_log error.log;\n\
         events {{ worker_connections 256; }}\n\
         http {{ client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; \
         scgi_temp_path scgi; keepalive_requests 1000000;\n\
         log_format line '$request $status'; access_log {log} line;\n\
         server {{ listen 127.0.0.1:{port}; root {root};\n\
         location = /chunked {{ ssi on; ssi_types *; default_type text/html; alias {root}/chunked; }}\n\
         error_page 405 =200 /index.html; }} }}\n",
        log = place.path("access.log"),
        port = place.port,
        root = place.path("root"),
    );
    place.write("root/chunked", "<!--# echo var=\"request_uri\" --> hello\n");
    let config = place.write("nginx.conf", &config);
    let mut command = Command::new("nginx");
    command.args(["-p", &place.path(""), "-c", &config, "-e", "error.log"]);
    place.start("nginx", command, "access.log")
}

pub fn apache() -> Option<Site> {
    let place = Place::new(2000);
    let modules = "/usr/lib/apache2/modules";
    let load = |name: &str| format!("LoadModule {name}_module {modules}/mod_{name}.so\n");
    let loaded: String = ["mpm_event", "authz_core", "dir", "include"]
        .map(load)
        .concat();
    let config = format!(
        "ServerRoot {folder}\nServerName localhost\nListen 127.0.0.1:{port}\nPidFile {folder}/pid\nErrorLog {folder}/error.log\n\
         DefaultRuntimeDir {folder}\n{loaded}\
         LogFormat \"%r %>s\" line\nCustomLog {folder}/access.log line\n\
         DocumentRoot {folder}/root\nMaxKeepAliveRequests 0\nKeepAliveTimeout 30\n\
         <Directory {folder}/root>\nRequire all granted\nOptions +Includes\n</Directory>\n\
         <Location /chunked>\nForceType text/html\nSetOutputFilter INCLUDES\n</Location>\n",
        folder = place.folder.path().display(),
        port = place.port,
    );
    place.write("root/chunked", "<!--#echo var=\"REQUEST_URI\" --> hello\n");
    let config = place.write("apache.conf", &config);
    let mut command = Command::new("apache2");
    command.args(["-f", &config, "-DFOREGROUND"]);
    place.start("apache2", command, "access.log")
}

/// Its log is written every four seconds.
pub fn lighttpd() -> Option<Site> {
    let place = Place::new(4000);
    let config = format!(
        "server.document-root = \"{root}\"\nserver.port = {port}\nserver.bind = \"127.0.0.1\"\n\
         server.modules = ( \"mod_accesslog\", \"mod_cgi\" )\nindex-file.names = ( \"index.html\" )\n\
         accesslog.filename = \"{log}\"\naccesslog.format = \"%r %s\"\n\
         server.max-keep-alive-requests = 0\nserver.stream-response-body = 1\n\
         server.errorlog = \"{errors}\"\n\
         $HTTP[\"url\"] == \"/chunked\" {{ cgi.assign = ( \"\" => \"/bin/sh\" ) }}\n",
        root = place.path("root"),
        port = place.port,
        log = place.path("access.log"),
        errors = place.path("error.log"),
    );
    place.write(
        "root/chunked",
        // In two pieces: a script that is over at once is answered with a length.
        "printf 'Content-Type: text/plain\\r\\n\\r\\nhel'\nsleep 0.02\nprintf lo\n",
    );
    let config = place.write("lighttpd.conf", &config);
    let mut command = Command::new("lighttpd");
    command.args(["-D", "-f", &config]);
    let mut site = place.start("lighttpd", command, "access.log")?;
    // A body is answered with 405 where a file is asked for.
    site.takes_bodies = false;
    Some(site)
}

pub fn haproxy() -> Option<Site> {
    let place = Place::new(6000);
    // With one thread: of several, one that finds another writing to the log gives up after 200 looks and leaves its line
    // out (`fd_write_frag_line` in its src/fd.c). With 16 threads its log lacked 35 of 113 063 requests, and the
    // `DroppedLogs` of its `show info` were 35.
    let config = format!(
        "global\n  nbthread 1\n  log stdout format raw local0\n  maxconn 500\n\
         defaults\n  mode http\n  log global\n  timeout client 30s\n  timeout connect 5s\n  timeout server 30s\n  \
         log-format \"%[capture.req.method] %HU %HV %ST\"\n\
         frontend f\n  bind 127.0.0.1:{port}\n  declare capture request len 128\n  \
         http-request return status 404 content-type text/plain string missing if {{ path /missing }}\n  \
         http-request return status 200 content-type text/plain string hello\n",
        port = place.port,
    );
    let config = place.write("haproxy.cfg", &config);
    let mut command = Command::new("haproxy");
    command.args(["-db", "-f", &config]);
    let mut site = place.start("haproxy", command, "printed")?;
    site.has_chunks = false;
    Some(site)
}

pub fn node() -> Option<Site> {
    let place = Place::new(8000);
    let script = format!(
        "const http = require('http'), fs = require('fs');\n\
         const log = fs.openSync({log:?}, 'a');\n\
         const server = http.createServer((request, response) => {{\n\
           request.resume();\n\
           request.on('end', () => {{\n\
             response.statusCode = request.url == '/missing' ? 404 : 200;\n\
             if (request.url == '/chunked') {{ response.write('hel'); response.end('lo'); }}\n\
             else {{ response.setHeader('Content-Length', 5); response.end('hello'); }}\n\
             fs.writeSync(log, `${{request.method}} ${{request.url}} HTTP/${{request.httpVersion}} ${{response.statusCode}}\\n`);\n\
           }});\n\
         }});\n\
         server.keepAliveTimeout = 30000;\n\
         server.listen({port}, '127.0.0.1');\n",
        log = place.path("access.log"),
        port = place.port,
    );
    let script = place.write("server.js", &script);
    let mut command = Command::new("node");
    command.arg(script);
    place.start("node", command, "access.log")
}

pub fn python() -> Option<Site> {
    let place = Place::new(12_000);
    let script = format!(
        "import http.server\n\
         class Handler(http.server.BaseHTTPRequestHandler):\n\
         \x20   protocol_version = 'HTTP/1.1'\n\
         \x20   def do_GET(self):\n\
         \x20       self.rfile.read(int(self.headers.get('Content-Length', 0)))\n\
         \x20       self.send_response(404 if self.path == '/missing' else 200)\n\
         \x20       chunked = self.path == '/chunked' and self.request_version != 'HTTP/1.0'\n\
         \x20       body = b'3\\r\\nhel\\r\\n2\\r\\nlo\\r\\n0\\r\\n\\r\\n' if chunked else b'hello'\n\
         \x20       if chunked: self.send_header('Transfer-Encoding', 'chunked')\n\
         \x20       elif self.path == '/chunked': self.close_connection = True\n\
         \x20       else: self.send_header('Content-Length', '5')\n\
         \x20       self.end_headers()\n\
         \x20       if self.command != 'HEAD': self.wfile.write(body)\n\
         \x20   do_POST = do_HEAD = do_GET\n\
         http.server.ThreadingHTTPServer(('127.0.0.1', {port}), Handler).serve_forever()\n",
        port = place.port,
    );
    let script = place.write("server.py", &script);
    let mut command = Command::new("python3");
    command.arg(script);
    place.start("python3 http.server", command, "printed")
}

/// A stream has no length, and whoever asks for keep-alive in HTTP/1.0 waits for its end for ever: aiohttp 3.8 does not
/// close. So no stream is asked of it there.
pub fn aiohttp() -> Option<Site> {
    let mut has_it = Command::new("/usr/bin/python3");
    has_it.args(["-c", "import aiohttp"]).stderr(Stdio::null());
    if !has_it.status().is_ok_and(|status| status.success()) {
        println!("skipped: aiohttp is not installed");
        return None;
    }
    let place = Place::new(14_000);
    let script = format!(
        "import logging\n\
         from aiohttp import web\n\
         async def answer(request):\n\
         \x20   await request.read()\n\
         \x20   if request.path == '/missing':\n\
         \x20       return web.Response(status=404, text='missing')\n\
         \x20   if request.path != '/chunked' or request.version.minor == 0:\n\
         \x20       return web.Response(text='hello')\n\
         \x20   response = web.StreamResponse()\n\
         \x20   await response.prepare(request)\n\
         \x20   await response.write(b'hel')\n\
         \x20   await response.write(b'lo')\n\
         \x20   await response.write_eof()\n\
         \x20   return response\n\
         logging.basicConfig(level=logging.INFO, format='%(message)s')\n\
         app = web.Application()\n\
         app.router.add_route('*', '/{{path:.*}}', answer)\n\
         web.run_app(app, host='127.0.0.1', port={port}, access_log_format='%r %s')\n",
        port = place.port,
    );
    let script = place.write("server.py", &script);
    let mut command = Command::new("/usr/bin/python3");
    command.arg(script);
    place.start("aiohttp", command, "printed")
}
