//! Two network namespaces with a cable between them (veth(4)), which can be pulled out: the loopback interface cannot
//! lose its link. The near end is in the calling process's namespace; the far one lives in a thread.

use super::command;
use crate::base::sys;
use crate::lab::trouble::{During, Trouble};
use nix::sched::{CloneFlags, unshare};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

/// The address of the near end.
pub const NEAR: Ipv4Addr = Ipv4Addr::new(10, 9, 1, 1);

/// The address of the far end.
const FAR: Ipv4Addr = Ipv4Addr::new(10, 9, 1, 2);

/// How long a connection over the cable may take to open.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the thread at the far end is asked to do, and says that it has done.
type Job = Box<dyn FnOnce() + Send>;

/// A cable. The far end ends with it.
pub struct Cable {
    far: Sender<Job>,
}

impl Cable {
    /// Lays it, and has both ends up.
    pub fn lay() -> Result<Cable, Trouble> {
        let (far, jobs) = channel::<Job>();
        std::thread::spawn(move || jobs.into_iter().for_each(|job| job()));
        let cable = Cable { far };
        let thread = cable.there(|| {
            unshare(CloneFlags::CLONE_NEWNET).during("make a second network namespace")?;
            sys::bring_loopback_up().during("bring its loopback up")?;
            Ok(nix::unistd::gettid())
        })?;
        let thread = thread.to_string();
        command::run(
            "ip",
            &[
                "link", "add", "near", "type", "veth", "peer", "name", "far", "netns", &thread,
            ],
        )?;
        command::run(
            "ip",
            &["address", "add", &format!("{NEAR}/24"), "dev", "near"],
        )?;
        command::run("ip", &["link", "set", "near", "up"])?;
        cable.there(|| {
            command::run(
                "ip",
                &["address", "add", &format!("{FAR}/24"), "dev", "far"],
            )?;
            command::run("ip", &["link", "set", "far", "up"])
        })?;
        Ok(cable)
    }

    /// Connects from the far end.
    pub fn connect(&self, to: SocketAddr) -> Result<TcpStream, Trouble> {
        self.there(move || {
            TcpStream::connect_timeout(&to, PATIENCE).during("connect over the cable")
        })
    }

    /// Takes the link down at the far end, so that nothing passes any more, and nobody is told.
    pub fn cut(&self) -> Result<(), Trouble> {
        self.there(|| command::run("ip", &["link", "set", "far", "down"]).map(drop))
    }

    /// Does something in the far namespace.
    fn there<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> Result<T, Trouble> + Send + 'static,
    ) -> Result<T, Trouble> {
        let (done, result): (Sender<Result<T, Trouble>>, Receiver<_>) = channel();
        let job = move || drop(done.send(job()));
        let gone = || Trouble::failed("the thread at the far end has ended");
        self.far.send(Box::new(job)).map_err(|_| gone())?;
        result.recv().map_err(|_| gone())?
    }
}
