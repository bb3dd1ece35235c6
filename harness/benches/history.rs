//! How often a history finds a change where there is none, and where there is one: `cargo bench -p harness --bench
//! history`, from the pools of results/gate. The first line is what the page of a history says.

#[path = "../tests/history/pools.rs"]
mod pools;

fn main() {
    println!("{}", pools::sentence());
    for (name, words) in pools::POOLS {
        let pool = pools::Pool::read(name);
        println!(
            "{words}: {} and {} changes in the two equal arms in the order of time, {} trials a run",
            pool.in_order()[0],
            pool.in_order()[1],
            pools::TRIALS / 2
        );
    }
}
