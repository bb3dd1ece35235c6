//! The calls with which a program writes beneath a folder, in all its threads: counted, and one of them answered with an
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
use std::time::Duration;

/// One call that would have written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Call {
    pub name: &'static str,
    /// Within the folder of the run, without what a temporary name adds: the same from run to run. Empty for that folder
    /// itself.
    pub file: PathBuf,
}

/// A call that is not made but answered with an error.
#[derive(Debug, Clone)]
pub struct Fault {
    pub call: Call,
    /// Which of those that are alike, from 0.
    pub nth: usize,
    pub errno: Errno,
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

/// A traced process with all its threads.
pub struct Tracer<'a> {
    /// Its first thread, whose end is the process's.
    main: Pid,
    threads: Vec<Thread>,
    beneath: &'a Path,
    fault: Option<&'a Fault>,
    made: Made,
}

/// What was seen.
#[derive(Debug, Default)]
pub struct Made {
    /// The calls, in the order in which they came.
    pub calls: Vec<Call>,
    /// Which of them failed.
    pub failed: Option<usize>,
}

/// One thread.
#[derive(Debug)]
struct Thread {
    id: Pid,
    /// Whether it is inside a call.
    is_inside: bool,
    /// Whether that call is the one that fails.
    fails: bool,
}

/// What a look at a thread found.
enum Look {
    /// It runs, or sleeps in a call.
    Runs,
    /// It was stopped, and goes on.
    WentOn,
    /// It has ended.
    Ended,
}

impl Thread {
    fn new(id: Pid) -> Thread {
        Thread {
            id,
            is_inside: false,
            fails: false,
        }
    }
}

impl<'a> Tracer<'a> {
    /// Traces a process of this user that waits for a line; it goes on as soon as it gets one. Threads that it starts are
    /// traced as well, programs that it starts are not.
    pub fn seize(pid: u32, beneath: &'a Path, fault: Option<&'a Fault>) -> nix::Result<Tracer<'a>> {
        let main = Pid::from_raw(pid as i32);
        let options = Options::PTRACE_O_TRACESYSGOOD
            | Options::PTRACE_O_TRACECLONE
            | Options::PTRACE_O_EXITKILL;
        ptrace::seize(main, options)?;
        ptrace::interrupt(main)?;
        waitpid(main, Some(WaitPidFlag::__WALL))?;
        ptrace::syscall(main, None)?;
        Ok(Tracer {
            main,
            threads: vec![Thread::new(main)],
            beneath,
            fault,
            made: Made::default(),
        })
    }

    /// Lets it go on until it makes no call for a while; whether it has ended, so that its parent can collect it.
    pub fn pump(&mut self) -> bool {
        /// Looks at it, one call being usually followed by the next. The CPU is not given up in between: on a busy machine
        /// it would come back after milliseconds, for each of thousands of calls.
        const LOOKS: usize = 60;
        /// How long it is then left alone.
        const PAUSE: Duration = Duration::from_micros(100);
        let mut looks = 0;
        while looks < LOOKS {
            looks += 1;
            let mut at = 0;
            while at < self.threads.len() {
                match self.look(at) {
                    Look::Ended if self.threads[at].id == self.main => return true,
                    Look::Ended => drop(self.threads.remove(at)),
                    Look::Runs => at += 1,
                    Look::WentOn => (looks, at) = (0, at + 1),
                }
            }
            std::hint::spin_loop();
        }
        std::thread::sleep(PAUSE);
        false
    }

    fn look(&mut self, at: usize) -> Look {
        let id = self.threads[at].id;
        let any = WaitPidFlag::WEXITED | WaitPidFlag::WSTOPPED | WaitPidFlag::__WALL;
        let look = any | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        match waitid(Id::Pid(id), look) {
            Ok(WaitStatus::StillAlive) => return Look::Runs,
            Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..)) | Err(_) => {
                // The process is its parent's to collect; a thread that nobody collects would keep it from ending.
                if id != self.main {
                    let _ = waitpid(id, Some(WaitPidFlag::__WALL | WaitPidFlag::WNOHANG));
                }
                return Look::Ended;
            }
            Ok(_) => {}
        }
        let signal = match waitpid(id, Some(WaitPidFlag::__WALL)) {
            Ok(WaitStatus::PtraceSyscall(_)) => {
                let _ = self.at_call(at);
                None
            }
            Ok(WaitStatus::PtraceEvent(_, _, libc::PTRACE_EVENT_CLONE)) => {
                let new = ptrace::getevent(id).map(|id| Pid::from_raw(id as i32));
                self.threads.extend(new.map(Thread::new));
                None
            }
            Ok(WaitStatus::Stopped(_, signal)) if signal != Signal::SIGTRAP => Some(signal),
            _ => None,
        };
        let _ = ptrace::syscall(id, signal);
        Look::WentOn
    }

    /// What it wrote to.
    pub fn made(self) -> Made {
        self.made
    }

    #[cfg(target_arch = "x86_64")]
    fn at_call(&mut self, at: usize) -> nix::Result<()> {
        let id = self.threads[at].id;
        let mut registers = ptrace::getregs(id)?;
        // At its entry a call's result is -ENOSYS (ptrace(2) leaves it to the architecture).
        let enters =
            !self.threads[at].is_inside && registers.rax as i64 == -i64::from(libc::ENOSYS);
        self.threads[at].is_inside = enters;
        if enters {
            let arguments = [registers.rdi, registers.rsi, registers.rdx, registers.r10];
            let Some(call) = self.writes(registers.orig_rax as libc::c_long, arguments) else {
                return Ok(());
            };
            if self.is_to_fail(&call) {
                self.made.failed = Some(self.made.calls.len());
                registers.orig_rax = u64::MAX;
                ptrace::setregs(id, registers)?;
                self.threads[at].fails = true;
            }
            self.made.calls.push(call);
        } else if std::mem::take(&mut self.threads[at].fails) {
            let errno = self.fault.map_or(0, |fault| fault.errno as i64);
            registers.rax = (-errno) as u64;
            ptrace::setregs(id, registers)?;
        }
        Ok(())
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn at_call(&mut self, _at: usize) -> nix::Result<()> {
        Err(Errno::ENOSYS)
    }

    #[cfg(target_arch = "x86_64")]
    fn is_to_fail(&self, call: &Call) -> bool {
        let before = self.made.calls.iter().filter(|made| *made == call).count();
        self.fault
            .is_some_and(|fault| fault.call == *call && fault.nth == before)
    }

    /// The call, if it writes beneath the folder.
    fn writes(&self, number: libc::c_long, arguments: [u64; 4]) -> Option<Call> {
        let &(_, name, names) = CALLS.iter().find(|(of, ..)| *of == number)?;
        let path = match names {
            Names::Descriptor => {
                fs::read_link(format!("/proc/{}/fd/{}", self.main, arguments[0] as i32)).ok()?
            }
            Names::Path(at) => self.path(arguments[at])?,
            Names::Opened => {
                let written = libc::O_WRONLY | libc::O_RDWR | libc::O_CREAT;
                (arguments[2] as i32 & written != 0).then(|| self.path(arguments[1]))??
            }
        };
        let path = path.strip_prefix(self.beneath).ok()?.to_string_lossy();
        let path = path.split(".tmp").next().unwrap_or_default();
        // A run's folder has another name each time.
        let file = Path::new(path).components().skip(1).collect();
        Some(Call { name, file })
    }

    fn path(&self, at: u64) -> Option<PathBuf> {
        // Anew each time: the process may have become another program.
        let memory = File::open(format!("/proc/{}/mem", self.main)).ok()?;
        let mut bytes = vec![0; 4096];
        let length = memory.read_at(&mut bytes, at).ok()?;
        let end = bytes[..length].iter().position(|byte| *byte == 0)?;
        Some(String::from_utf8_lossy(&bytes[..end]).into_owned().into())
    }
}
