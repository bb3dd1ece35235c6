//! The runtime of supervision: children, signals, timers. It is the main thread's, since children are killed when the
//! *thread* that started them ends (PR_SET_PDEATHSIG).

use std::io;
use std::os::unix::net::UnixStream;
use tokio::runtime::{Builder, Runtime};

/// Descriptors that tokio needs for a runtime: two of epoll, an eventfd, a pair of sockets for signals, and one of these
/// once more.
const DESCRIPTORS: usize = 6;

/// Makes it.
///
/// # Errors
/// What the system refused.
pub fn start() -> io::Result<Runtime> {
    // Where that pair of sockets is not to be had, tokio panics: whether it is, is seen before, as an error.
    let (one, other) = UnixStream::pair()?;
    let more = (2..DESCRIPTORS).map(|_| one.try_clone());
    let more = more.collect::<io::Result<Vec<_>>>()?;
    drop((one, other, more));
    Builder::new_current_thread().enable_all().build()
}
