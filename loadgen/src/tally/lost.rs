/// That a host is lost, and how, as a failure.
#[must_use]
pub fn lost_host(complaint: String) -> Failure {
    Failure {
        kind: HOST_LOST.into(),
        ..lost_process("window", complaint)
    }
}
