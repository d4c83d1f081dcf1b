//! The peer of watched streams: their newest values and a function that reads them all, by hand.

use anyhow::{Context as _, Result};
use futures_util::{
    Stream, StreamExt,
    stream::{self, LocalBoxStream},
};

/// The most values between two runs of the function.
const VALUES_BETWEEN_RUNS: usize = 1_024;

/// Takes in the values of `streams`, and calls `run` with the newest of each at the beginning and whenever
/// some came, until it returns false.
pub(crate) async fn follow(
    streams: Vec<LocalBoxStream<'static, u64>>,
    mut run: impl FnMut(&[u64]) -> Result<bool>,
) -> Result<()> {
    let mut newest = vec![0; streams.len()];
    let numbered = streams
        .into_iter()
        .enumerate()
        .map(|(number, values)| values.map(move |value| (number, value)));
    let mut ready = stream::select_all(numbered).ready_chunks(VALUES_BETWEEN_RUNS);
    while run(&newest)? {
        let came = ready.next().await.context("the streams have ended")?;
        for (number, value) in came {
            newest[number] = value;
        }
    }
    Ok(())
}

/// The values of a watched stream, without the error that it can't have.
pub(crate) fn values(
    stream: impl Stream<Item = Result<u64, std::convert::Infallible>> + 'static,
) -> LocalBoxStream<'static, u64> {
    stream.map(|Ok(value)| value).boxed_local()
}
