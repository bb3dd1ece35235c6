//! The program's contract: what it says of servers whose behaviour is known, and
//! how it behaves itself. One binary, so that the fixture is built once.

mod answers;
mod common;
mod cookbook;
mod ends;
mod faults;
mod fleet;
mod hosts;
mod kernel;
mod live;
mod loads;
mod names;
mod own;
mod program;
mod requests;
mod shards;
mod stages;
mod targets;
mod tls;
