//! Every TCP concurrency model as a server of its own.
