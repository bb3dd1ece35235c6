//! The one listener recipe, so that all models start equal: socket(2), bind(2),
//! listen(2).

use std::io::{self, Write};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::libc::{self, c_int};
use socket2::{Socket, Type};

use crate::accept::{Listener, Policy};
use crate::address::Address;
use crate::broken::Broken;
use crate::error::in_a_sentence;
use crate::trace::Worker;

/// What a listener is made from.
#[derive(Clone, Copy)]
pub struct Recipe {
    /// Where to listen.
    pub address: Address,
    /// How many connections the kernel keeps until they are accepted. The same
    /// for every model: std, mio and tokio silently pass 128 instead, and a short
    /// listen queue would be measured in place of the model.
    pub backlog: i32,
    /// What every connection is subject to.
    pub policy: &'static Policy,
    /// Whose its connections are.
    pub worker: Worker,
}

/// A socket that has no address yet.
pub struct Unbound {
    recipe: Recipe,
    flags: c_int,
    socket: Socket,
}

/// A socket that has its address, and does not listen yet.
pub struct Bound {
    recipe: Recipe,
    socket: Socket,
}

/// Sockets that share one address, and do not listen yet.
pub struct BoundTogether(Vec<Bound>);

impl Recipe {
    /// socket(2), with these flags: `SOCK_NONBLOCK` or none. setsockopt(2): the
    /// address may be used again at once, and nothing is held back for Nagle's
    /// algorithm. Linux hands `TCP_NODELAY` on to every accepted socket, as
    /// `sk_clone_lock` copies the listening one (a test below holds it to that).
    ///
    /// # Errors
    /// A sentence that names the address.
    pub fn socket(self, flags: c_int) -> io::Result<Unbound> {
        let open = || {
            let kind = Type::STREAM;
            let kind = match flags & libc::SOCK_NONBLOCK {
                0 => kind,
                _ => kind.nonblocking(),
            };
            let (domain, protocol) = self.address.family();
            let socket = Socket::new(domain, kind, protocol)?;
            if self.address.is_unix() {
                return Ok(socket);
            }
            let is = |broken| self.policy.is(broken);
            socket.set_reuse_address(!is(Broken::NoReuseaddr))?;
            socket.set_tcp_nodelay(!is(Broken::Nagle))?;
            Ok(socket)
        };
        let socket = open().map_err(|error| self.named(error))?;
        Ok(Unbound {
            recipe: self,
            flags,
            socket,
        })
    }

    fn named(&self, error: io::Error) -> io::Error {
        let hint = match error.kind() {
            io::ErrorKind::AddrInUse if self.address.is_unix() => {
                "; end the program that listens there, or choose another path"
            }
            io::ErrorKind::AddrInUse => {
                "; end the program that listens there, or choose another port (0: any free one)"
            }
            io::ErrorKind::PermissionDenied if self.address.is_unix() => {
                "; choose a folder that you may write to"
            }
            io::ErrorKind::AddrNotAvailable => "; this machine has no such address",
            io::ErrorKind::PermissionDenied => "; ports below 1024 need root",
            _ => "",
        };
        let address = self.address;
        let sentence = format!("cannot listen on {address}: {error}{hint}");
        in_a_sentence(error, sentence)
    }
}

impl Unbound {
    /// bind(2).
    ///
    /// # Errors
    /// A sentence that names the address.
    pub fn bind(self) -> io::Result<Bound> {
        let Unbound { recipe, socket, .. } = self;
        let bound = recipe.address.for_the_system().and_then(|address| {
            if let Address::Unix(path) = recipe.address {
                remove_abandoned(path);
            }
            socket.bind(&address)
        });
        bound.map_err(|error| recipe.named(error))?;
        Ok(Bound { recipe, socket })
    }

    /// setsockopt(2) with `SO_REUSEPORT`, and bind(2), for so many sockets at one
    /// address: the kernel spreads connections over them (socket(7)).
    ///
    /// # Errors
    /// A sentence that names the address.
    pub fn bind_together(self, sockets: usize) -> io::Result<BoundTogether> {
        let (mut recipe, flags) = (self.recipe, self.flags);
        if recipe.address.is_unix() {
            let sentence = "several sockets at one address (SO_REUSEPORT) are TCP's; Unix sockets have no such thing";
            return Err(io::Error::new(io::ErrorKind::Unsupported, sentence));
        }
        let share = |unbound: Unbound| {
            unbound.socket.set_reuse_port(true)?;
            unbound.bind()
        };
        let first = share(self)?;
        recipe.address = first.address()?;
        let mut bound = vec![first];
        for _ in 1..sockets {
            bound.push(share(recipe.socket(flags)?)?);
        }
        Ok(BoundTogether(bound))
    }
}

impl Bound {
    /// listen(2), and says so on stdout.
    ///
    /// # Errors
    /// A sentence that names the address.
    pub fn listen(self) -> io::Result<Listener> {
        let address = self.address()?;
        let listener = self.listen_quietly()?;
        say_ready(address);
        Ok(listener)
    }

    fn listen_quietly(self) -> io::Result<Listener> {
        let Bound { recipe, socket } = self;
        let listens = socket.listen(recipe.backlog);
        listens.map_err(|error| recipe.named(error))?;
        Ok(Listener::new(socket, recipe.policy, recipe.worker))
    }

    fn address(&self) -> io::Result<Address> {
        let address = self.socket.local_addr()?.as_socket();
        Ok(address.map_or(self.recipe.address, Address::Ip))
    }
}

impl BoundTogether {
    /// listen(2) on each. All of them listen before this is said on stdout, since
    /// each gets its share of the connections from then on.
    ///
    /// # Errors
    /// A sentence that names the address.
    pub fn listen(self) -> io::Result<Vec<Listener>> {
        let address = self.0.first().map(Bound::address).transpose()?;
        let listeners: io::Result<_> = self.0.into_iter().map(Bound::listen_quietly).collect();
        if let (Some(address), Ok(_)) = (address, &listeners) {
            say_ready(address);
        }
        listeners
    }
}

/// Removes the file of a Unix socket that nobody listens at: a server that a signal ended has left it behind.
fn remove_abandoned(path: &Path) {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    if is_socket && UnixStream::connect(path).is_err_and(refused) {
        // If that fails, bind(2) says why.
        let _ = std::fs::remove_file(path);
    }
}

/// Nobody may be listening to what we say: that is no reason not to serve.
fn say_ready(address: Address) {
    let mut stdout = io::stdout().lock();
    let _ = writeln!(stdout, "listening {address}").and_then(|()| stdout.flush());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Ledger;
    use std::error::Error;
    use std::net::{SocketAddr, TcpStream};

    fn recipe(address: &str) -> Recipe {
        let slot = Ledger::create(None, "test", 1).unwrap().slot(0);
        Recipe {
            address: address.parse().unwrap(),
            backlog: 16,
            policy: &Policy {
                limits: None,
                idle_timeout: None,
                broken: None,
            },
            worker: Worker::new(slot, None),
        }
    }

    fn address(listener: &Listener) -> SocketAddr {
        listener.socket().local_addr().unwrap().as_socket().unwrap()
    }

    fn listen(recipe: Recipe) -> io::Result<Listener> {
        recipe.socket(0)?.bind()?.listen_quietly()
    }

    #[test]
    fn accepted_sockets_inherit_nodelay() {
        let mut listener = listen(recipe("127.0.0.1:0")).unwrap();
        let _client = TcpStream::connect(address(&listener)).unwrap();
        assert!(listener.accept4().unwrap().stream.nodelay().unwrap());
    }

    #[test]
    fn nagles_algorithm_is_left_on_where_that_is_asked_for() {
        let broken = Some(Broken::Nagle);
        let policy = Box::leak(Box::new(Policy {
            broken,
            ..*recipe("127.0.0.1:0").policy
        }));
        let recipe = Recipe {
            policy,
            ..recipe("127.0.0.1:0")
        };
        let mut listener = listen(recipe).unwrap();
        let _client = TcpStream::connect(address(&listener)).unwrap();
        assert!(!listener.accept4().unwrap().stream.nodelay().unwrap());
    }

    #[test]
    fn a_taken_port_is_named() {
        let first = listen(recipe("127.0.0.1:0")).unwrap();
        let taken = address(&first);
        let error = listen(recipe(&taken.to_string())).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        let cause = error.source().and_then(|e| e.downcast_ref::<io::Error>());
        let errno = cause.and_then(io::Error::raw_os_error);
        assert_eq!(errno, Some(nix::errno::Errno::EADDRINUSE as i32));
        assert!(error.to_string().contains(&taken.to_string()));
    }

    #[test]
    fn a_unix_socket_is_taken_over_from_the_dead_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let address = format!("unix:{}", path.display());
        let mut first = listen(recipe(&address)).unwrap();
        let client = UnixStream::connect(&path).unwrap();
        // What accept4(2) returns is a stream like any other, whose client has no address.
        assert!(first.accept4().is_ok());
        let error = listen(recipe(&address)).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().contains("choose another path"), "{error}");
        drop((first, client));
        assert!(path.exists());
        assert!(listen(recipe(&address)).is_ok());
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "no socket").unwrap();
        assert!(
            listen(recipe(&address)).is_err(),
            "no file is removed but a socket's"
        );
        let together = recipe(&address).socket(0).unwrap().bind_together(2);
        assert_eq!(together.err().unwrap().kind(), io::ErrorKind::Unsupported);
    }

    #[test]
    fn a_shared_port_takes_several() {
        let socket = recipe("127.0.0.1:0").socket(libc::SOCK_NONBLOCK).unwrap();
        let sockets = socket.bind_together(3).unwrap();
        let mut listeners = sockets.listen().unwrap();
        assert_eq!(listeners.len(), 3);
        assert_eq!(address(&listeners[0]), address(&listeners[2]));
        assert!(listeners[2].accept4_nonblock().unwrap().is_none());
    }
}
