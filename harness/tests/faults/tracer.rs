//! The calls with which a program's main thread writes beneath a folder: counted, and one of them answered with an
//! error instead of being made. ptrace(2), since only the path tells a result from anything else that is written, and
//! strace selects by paths that are known beforehand.

use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::Signal;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// One call that would have written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    pub name: &'static str,
    pub path: PathBuf,
}

/// Where a call names what it writes to.
#[derive(Clone, Copy)]
enum Names {
    /// A descriptor, in the first argument.
    Descriptor,
    /// A path, in this argument.
    Path(usize),
    /// A path in the second argument, if the flags in the third say that it is written to.
    Opened,
}

/// The calls of the standard library and of `nix` that write.
const CALLS: &[(libc::c_long, &str, Names)] = &[
    (libc::SYS_write, "write", Names::Descriptor),
    (libc::SYS_pwrite64, "pwrite64", Names::Descriptor),
    (libc::SYS_writev, "writev", Names::Descriptor),
    (libc::SYS_fsync, "fsync", Names::Descriptor),
    (libc::SYS_fdatasync, "fdatasync", Names::Descriptor),
    (libc::SYS_syncfs, "syncfs", Names::Descriptor),
    (libc::SYS_ftruncate, "ftruncate", Names::Descriptor),
    (libc::SYS_fchmod, "fchmod", Names::Descriptor),
    (libc::SYS_openat, "openat", Names::Opened),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_mkdir, "mkdir", Names::Path(0)),
    (libc::SYS_mkdirat, "mkdirat", Names::Path(1)),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_rename, "rename", Names::Path(1)),
    (libc::SYS_renameat, "renameat", Names::Path(3)),
    (libc::SYS_renameat2, "renameat2", Names::Path(3)),
];

/// A traced process.
pub struct Tracer<'a> {
    pid: Pid,
    beneath: &'a Path,
    /// Which of the calls fails, from 0, and with what.
    fail: Option<(usize, Errno)>,
    calls: Vec<Call>,
    /// Whether the process is inside a call.
    is_inside: bool,
    /// Whether that call is the one that fails.
    fails: bool,
}

impl<'a> Tracer<'a> {
    /// Traces a process of this user that waits for a line; it goes on as soon as it gets one.
    pub fn seize(
        pid: u32,
        beneath: &'a Path,
        fail: Option<(usize, Errno)>,
    ) -> nix::Result<Tracer<'a>> {
        let pid = Pid::from_raw(pid as i32);
        ptrace::seize(
            pid,
            Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_EXITKILL,
        )?;
        ptrace::interrupt(pid)?;
        waitpid(pid, None)?;
        ptrace::syscall(pid, None)?;
        Ok(Tracer {
            pid,
            beneath,
            fail,
            calls: Vec::new(),
            is_inside: false,
            fails: false,
        })
    }

    /// Lets it go on until it makes no call for a while; whether it has ended, so that its parent can collect it.
    pub fn pump(&mut self) -> bool {
        /// Looks at it, one call being usually followed by the next.
        const LOOKS: usize = 200;
        let mut looks = 0;
        while looks < LOOKS {
            let any = WaitPidFlag::WEXITED | WaitPidFlag::WSTOPPED;
            let look = any | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
            match waitid(Id::Pid(self.pid), look) {
                Ok(WaitStatus::StillAlive) => {
                    looks += 1;
                    std::thread::yield_now();
                    continue;
                }
                Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..)) | Err(_) => return true,
                Ok(_) => looks = 0,
            }
            let signal = match waitpid(self.pid, None) {
                Ok(WaitStatus::PtraceSyscall(_)) => {
                    let _ = self.at_call();
                    None
                }
                Ok(WaitStatus::Stopped(_, signal)) if signal != Signal::SIGTRAP => Some(signal),
                _ => None,
            };
            let _ = ptrace::syscall(self.pid, signal);
        }
        false
    }

    /// What it wrote to.
    pub fn calls(self) -> Vec<Call> {
        self.calls
    }

    #[cfg(target_arch = "x86_64")]
    fn at_call(&mut self) -> nix::Result<()> {
        let mut registers = ptrace::getregs(self.pid)?;
        // At its entry a call's result is -ENOSYS (ptrace(2) leaves it to the architecture).
        let enters = !self.is_inside && registers.rax as i64 == -(libc::ENOSYS as i64);
        self.is_inside = enters;
        if enters {
            let arguments = [registers.rdi, registers.rsi, registers.rdx, registers.r10];
            let Some(call) = self.writes(registers.orig_rax as libc::c_long, arguments) else {
                return Ok(());
            };
            let number = self.calls.len();
            self.calls.push(call);
            if self.fail.is_some_and(|(at, _)| at == number) {
                registers.orig_rax = u64::MAX;
                ptrace::setregs(self.pid, registers)?;
                self.fails = true;
            }
        } else if std::mem::take(&mut self.fails) {
            let errno = self.fail.map_or(0, |(_, errno)| errno as i64);
            registers.rax = (-errno) as u64;
            ptrace::setregs(self.pid, registers)?;
        }
        Ok(())
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn at_call(&mut self) -> nix::Result<()> {
        Err(Errno::ENOSYS)
    }

    /// The call, if it writes beneath the folder.
    fn writes(&self, number: libc::c_long, arguments: [u64; 4]) -> Option<Call> {
        let &(_, name, names) = CALLS.iter().find(|(of, ..)| *of == number)?;
        let path = match names {
            Names::Descriptor => {
                fs::read_link(format!("/proc/{}/fd/{}", self.pid, arguments[0] as i32)).ok()?
            }
            Names::Path(at) => self.path(arguments[at])?,
            Names::Opened => {
                let written = libc::O_WRONLY | libc::O_RDWR | libc::O_CREAT;
                (arguments[2] as i32 & written != 0).then(|| self.path(arguments[1]))??
            }
        };
        path.starts_with(self.beneath)
            .then_some(Call { name, path })
    }

    fn path(&self, at: u64) -> Option<PathBuf> {
        // Anew each time: the process may have become another program.
        let memory = File::open(format!("/proc/{}/mem", self.pid)).ok()?;
        let mut bytes = vec![0; 4096];
        let length = memory.read_at(&mut bytes, at).ok()?;
        let end = bytes[..length].iter().position(|byte| *byte == 0)?;
        Some(String::from_utf8_lossy(&bytes[..end]).into_owned().into())
    }
}
