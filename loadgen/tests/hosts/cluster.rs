//! Several hosts on one machine: a network namespace each, on one bridge, with sshd and, if asked for, Slurm. They share
//! a kernel, a clock and its CPUs: the mechanism is tested, never the scaling.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Why there can be no cluster here; `None` where there can.
pub fn missing(programs: &[&str]) -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("namespaces on a bridge need root".into());
    }
    let places = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    let absent = programs.iter().find(|name| {
        !places
            .iter()
            .any(|place| Path::new(place).join(name).exists())
    });
    absent.map(|name| format!("there is no {name} here"))
}

/// Tests run side by side.
static CLUSTERS: AtomicU32 = AtomicU32::new(0);

/// A head `h0`, load hosts `h1` and on, and a target `hT`. All goes when it is dropped.
pub struct Cluster {
    pub folder: TempDir,
    tag: String,
    load_hosts: usize,
}

impl Cluster {
    pub fn up(load_hosts: usize) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("tenk-hosts")
            .tempdir_in("/tmp")
            .expect("a folder");
        let cluster = Self {
            folder,
            tag: format!("tk{}-{}", std::process::id(), CLUSTERS.fetch_add(1, SeqCst)),
            load_hosts,
        };
        // The bridge has a namespace of its own, so that nothing leaks into the machine's network.
        let bridge = cluster.namespace("br");
        run(&["ip", "netns", "add", &bridge]);
        run(&["ip", "-n", &bridge, "link", "add", "br0", "type", "bridge"]);
        run(&["ip", "-n", &bridge, "link", "set", "br0", "up"]);
        for host in cluster.hosts() {
            let inside = cluster.namespace(&host);
            run(&["ip", "netns", "add", &inside]);
            run(&[
                "ip", "-n", &bridge, "link", "add", &host, "type", "veth", "peer", "name", "eth0",
                "netns", &inside,
            ]);
            run(&[
                "ip", "-n", &bridge, "link", "set", &host, "master", "br0", "up",
            ]);
            let address = format!("{}/16", cluster.address(&host));
            run(&["ip", "-n", &inside, "addr", "add", &address, "dev", "eth0"]);
            run(&["ip", "-n", &inside, "link", "set", "eth0", "up"]);
            run(&["ip", "-n", &inside, "link", "set", "lo", "up"]);
        }
        cluster
    }

    fn hosts(&self) -> Vec<String> {
        let numbered = (0..=self.load_hosts).map(|number| format!("h{number}"));
        numbered.chain(["hT".into()]).collect()
    }

    /// The load hosts' names, as a list for `--load-hosts`.
    pub fn list(&self) -> String {
        self.hosts()[1..=self.load_hosts].join(",")
    }

    pub fn namespace(&self, host: &str) -> String {
        format!("{}{host}", self.tag)
    }

    pub fn address(&self, host: &str) -> String {
        match host[1..].parse::<usize>() {
            Ok(number) => format!("10.77.{}.{}", number / 200, 10 + number % 200),
            Err(_) => "10.77.9.9".into(),
        }
    }

    /// A program inside a host. (`ip netns exec` would remount /sys, where slurmd looks for control groups.)
    pub fn inside(&self, host: &str, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/run/netns/{}", self.namespace(host)))
            .arg("--")
            .arg(program);
        command
    }

    /// sshd in every load host and in the target; the launcher that reaches them.
    pub fn with_ssh(&self) -> String {
        let dir = self.folder.path();
        fs::create_dir_all("/run/sshd").expect("made");
        for key in ["key", "hostkey"] {
            let file = dir.join(key).display().to_string();
            run(&["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", &file]);
        }
        fs::copy(dir.join("key.pub"), dir.join("authorized_keys")).expect("copied");
        let host_key = fs::read_to_string(dir.join("hostkey.pub")).expect("read");
        let (mut known, mut config) = (String::new(), String::new());
        for host in &self.hosts()[1..] {
            let address = self.address(host);
            known += &format!("{address} {host_key}");
            config += &format!("Host {host}\n HostName {address}\n");
            let mut sshd = self.inside(host, "/usr/sbin/sshd");
            sshd.arg("-h").arg(dir.join("hostkey"));
            sshd.arg("-o").arg(format!("ListenAddress={address}"));
            sshd.arg("-o").arg(format!(
                "AuthorizedKeysFile={}",
                dir.join("authorized_keys").display()
            ));
            for option in [
                "PidFile=none",
                "StrictModes=no",
                "UsePAM=no",
                "PasswordAuthentication=no",
            ] {
                sshd.args(["-o", option]);
            }
            assert!(sshd.status().expect("sshd starts").success());
        }
        fs::write(dir.join("known_hosts"), known).expect("written");
        config += &format!(
            "Host *\n IdentityFile {0}/key\n UserKnownHostsFile {0}/known_hosts\n StrictHostKeyChecking yes\n BatchMode yes\n",
            dir.display()
        );
        fs::write(dir.join("ssh_config"), config).expect("written");
        format!("ssh -F {}/ssh_config {{host}}", dir.display())
    }

    /// A Slurm controller in the head and a daemon in every load host; the variables of an allocation of them all.
    pub fn with_slurm(&self) -> Vec<(String, String)> {
        let dir = self.folder.path();
        self.munge();
        let conf = dir.join("slurm.conf");
        fs::write(&conf, self.slurm_conf()).expect("written");
        // The daemons read it as another user, who has to get there.
        run(&["chmod", "755", &dir.display().to_string()]);
        let conf = conf.display().to_string();
        assert!(
            self.inside("h0", "slurmctld")
                .args(["-f", &conf])
                .status()
                .expect("starts")
                .success()
        );
        for host in &self.hosts()[1..=self.load_hosts] {
            fs::create_dir_all(dir.join(format!("spool-{host}"))).expect("made");
            let mut slurmd = self.inside(host, "slurmd");
            assert!(
                slurmd
                    .args(["-N", host, "-f", &conf])
                    .status()
                    .expect("starts")
                    .success()
            );
        }
        let wanted = self.load_hosts.to_string();
        wait("Slurm's nodes to be idle", Duration::from_secs(30), || {
            let mut sinfo = self.inside("h0", "sinfo");
            let output = sinfo
                .env("SLURM_CONF", &conf)
                .args(["-h", "-t", "idle", "-o", "%D"])
                .output();
            String::from_utf8_lossy(&output.expect("starts").stdout).trim() == wanted
        });
        vec![("SLURM_CONF".into(), conf)]
    }

    fn munge(&self) {
        let dir = self.folder.path().join("munge");
        fs::create_dir_all(&dir).expect("made");
        let random = fs::File::open("/dev/urandom").expect("opened");
        let mut key = Vec::new();
        std::io::Read::read_to_end(&mut std::io::Read::take(random, 128), &mut key).expect("read");
        fs::write(dir.join("key"), key).expect("written");
        let at = |name: &str| dir.join(name).display().to_string();
        run(&["chown", "-R", "munge:munge", &at("")]);
        run(&["chmod", "400", &at("key")]);
        run(&["chmod", "711", &at("")]);
        run(&["chmod", "755", &self.folder.path().display().to_string()]);
        let (key, socket, pid) = (at("key"), at("socket"), at("pid"));
        let options = [
            ("key-file", key),
            ("socket", socket),
            ("pid-file", pid),
            ("log-file", at("log")),
            ("seed-file", at("seed")),
        ];
        let mut munged = self.inside("h0", "setpriv");
        munged.args([
            "--reuid=munge",
            "--regid=munge",
            "--clear-groups",
            "munged",
            "--force",
        ]);
        munged.args(options.map(|(name, value)| format!("--{name}={value}")));
        assert!(munged.status().expect("starts").success());
    }

    fn slurm_conf(&self) -> String {
        let dir = self.folder.path().display();
        let name = fs::read_to_string("/proc/sys/kernel/hostname").expect("read");
        let name = name.trim().split('.').next().unwrap_or_default();
        let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let hosts = self.hosts();
        let nodes = hosts[1..=self.load_hosts].iter().map(|host| {
            format!(
                "NodeName={host} NodeAddr={} NodeHostname={host} CPUs={cpus} State=UNKNOWN\n",
                self.address(host)
            )
        });
        let nodes: String = nodes.collect();
        format!(
            "ClusterName=tenk\nSlurmctldHost={name}({})\nAuthType=auth/munge\nAuthInfo=socket={dir}/munge/socket\n\
             CredType=cred/munge\nSlurmUser=root\nSlurmdUser=root\nStateSaveLocation={dir}/state\n\
             SlurmdSpoolDir={dir}/spool-%n\nSlurmctldPidFile={dir}/slurmctld.pid\nSlurmdPidFile={dir}/slurmd-%n.pid\n\
             SlurmctldLogFile={dir}/slurmctld.log\nSlurmdLogFile={dir}/slurmd-%n.log\n\
             ProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\nSelectType=select/cons_tres\n\
             SelectTypeParameters=CR_Core\nReturnToService=2\nSlurmdTimeout=10\nKillWait=2\nMpiDefault=none\n\
             SwitchType=switch/none\nJobAcctGatherType=jobacct_gather/none\n\
             AccountingStorageType=accounting_storage/none\n{nodes}\
             PartitionName=all Nodes={} Default=YES MaxTime=INFINITE State=UP\n",
            self.address("h0"),
            self.list()
        )
    }

    /// The processes in a host that are not of its own services: pid and name.
    pub fn processes(&self, host: &str) -> Vec<(i32, String)> {
        let output = Command::new("ip")
            .args(["netns", "pids", &self.namespace(host)])
            .output()
            .expect("ip starts");
        let pids = String::from_utf8_lossy(&output.stdout).into_owned();
        let named = pids.split_whitespace().filter_map(|pid| {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
            Some((pid.parse().ok()?, name.trim().to_owned()))
        });
        let services = ["sshd", "slurm", "munged", "sackd"];
        named
            .filter(|(_, name)| !services.iter().any(|service| name.starts_with(service)))
            .collect()
    }

    /// The TCP sockets in a host that somebody holds, but for those of its services.
    pub fn sockets(&self, host: &str) -> Vec<String> {
        let output = self
            .inside(host, "ss")
            .args(["-H", "-tanp", "state", "connected"])
            .output()
            .expect("ss starts");
        let lines = String::from_utf8_lossy(&output.stdout).into_owned();
        let held = lines.lines().filter(|line| line.contains("users:"));
        let services = ["\"sshd\"", "\"ssh\"", "slurm"];
        held.filter(|line| !services.iter().any(|service| line.contains(service)))
            .map(str::to_owned)
            .collect()
    }

    /// Asserts that five seconds from now at the latest nothing is left of a run on any host.
    pub fn assert_empty(&self, after: &str) {
        let left = || -> Vec<String> {
            let hosts = self.hosts();
            let hosts = hosts.iter().filter(|host| *host != "hT");
            hosts
                .flat_map(|host| {
                    let processes = self
                        .processes(host)
                        .into_iter()
                        .map(move |process| format!("{host}: {process:?}"));
                    let sockets = self
                        .sockets(host)
                        .into_iter()
                        .map(move |socket| format!("{host}: {socket}"));
                    processes.chain(sockets).collect::<Vec<_>>()
                })
                .collect()
        };
        let start = Instant::now();
        while !left().is_empty() && start.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(50));
        }
        assert_eq!(left(), Vec::<String>::new(), "left on a host after {after}");
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for host in self.hosts().iter().map(String::as_str).chain(["br"]) {
            let namespace = self.namespace(host);
            let output = Command::new("ip")
                .args(["netns", "pids", &namespace])
                .output();
            for pid in output.iter().flat_map(|output| {
                String::from_utf8_lossy(&output.stdout)
                    .into_owned()
                    .split_whitespace()
                    .map(str::to_owned)
                    .collect::<Vec<_>>()
            }) {
                let _ = Command::new("kill")
                    .args(["-9", &pid])
                    .stderr(Stdio::null())
                    .status();
            }
            let _ = Command::new("ip")
                .args(["netns", "del", &namespace])
                .stderr(Stdio::null())
                .status();
        }
    }
}

/// Waits for something, and not for ever.
pub fn wait(what: &str, patience: Duration, mut is_there: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_there() {
        assert!(start.elapsed() < patience, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn run(words: &[&str]) {
    let output: Output = Command::new(words[0])
        .args(&words[1..])
        .output()
        .expect(words[0]);
    assert!(
        output.status.success(),
        "{words:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}
