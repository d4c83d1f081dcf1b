//! Runs seeds: `hersh-sim SEED`, or `hersh-sim FIRST COUNT` until one breaks a law.

use anyhow::{Context, bail};

fn main() -> anyhow::Result<()> {
    let numbers = std::env::args().skip(1).map(|text| text.parse::<u64>());
    let numbers: Vec<u64> = numbers
        .collect::<Result<_, _>>()
        .context("seeds are numbers: hersh-sim FIRST [COUNT]")?;
    let (first, count) = match numbers[..] {
        [first] => (first, 1),
        [first, count] => (first, count),
        _ => bail!("say which seed: hersh-sim FIRST [COUNT]"),
    };
    for seed in first..first.saturating_add(count) {
        let report = hersh_sim::run(seed)?;
        println!("{report}");
        if report.law.is_some() {
            bail!("seed {seed} breaks a law");
        }
    }
    Ok(())
}
