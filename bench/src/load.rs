//! Closed loops: producers that append, wait for the answer, and append again.

use std::{
    sync::mpsc,
    time::{Duration, Instant},
};

use anyhow::{anyhow, ensure};

use crate::latencies::Latencies;

/// Threads that drive a crowd. As many as there are cores would leave none to what is measured.
const DRIVERS: usize = 2;

/// Told once an append has come to its end.
pub(crate) type Done = Box<dyn FnOnce(Result<(), String>) + Send>;

/// How a round went.
#[derive(Debug)]
pub(crate) struct Round {
    /// Appends that were answered in a second.
    pub(crate) per_second: f64,
    /// How long each took.
    pub(crate) latencies: Latencies,
}

/// Producers that are a thread each, as a program without an async runtime has them. `append` gets the number of
/// the append.
pub(crate) fn threads(
    producers: usize,
    time: Duration,
    append: impl Fn(usize, Done) + Sync,
) -> anyhow::Result<Round> {
    let started = Instant::now();
    let append = &append;
    let work = |producer: usize| {
        let (done, wait) = mpsc::sync_channel(1);
        let mut times = Vec::new();
        let mut next = producer;
        while started.elapsed() < time {
            let sent = Instant::now();
            let done = done.clone();
            append(next, Box::new(move |outcome| _ = done.try_send(outcome)));
            wait.recv()?.map_err(|error| anyhow!(error))?;
            times.push(sent.elapsed());
            next += producers;
        }
        Ok(times)
    };
    let times: anyhow::Result<Vec<Vec<Duration>>> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..producers).map(|producer| scope.spawn(move || work(producer))).collect();
        workers.into_iter().map(|worker| worker.join().expect("a producer does not panic")).collect()
    });
    let elapsed = started.elapsed();
    let latencies: Latencies = times?.into_iter().flatten().collect();
    Ok(Round { per_second: latencies.count() as f64 / elapsed.as_secs_f64(), latencies })
}

/// A crowd of producers driven by two threads, as an async runtime has them: what is measured is not how fast
/// the system switches threads. `append` gets the number of the append.
pub(crate) fn crowd(
    producers: usize,
    time: Duration,
    append: impl Fn(usize, Done) + Sync,
) -> anyhow::Result<Round> {
    ensure!(producers > 0, "nobody produces");
    let drivers = DRIVERS.min(producers);
    let started = Instant::now();
    let append = &append;
    let drive = |driver: usize| {
        let (answers, answered) = mpsc::channel();
        let mut latencies = Latencies::new();
        // Drivers share the numbers of the appends: each takes every so many.
        let mut next = driver;
        let mut send = |sent: Instant| {
            let answers = answers.clone();
            append(next, Box::new(move |outcome| _ = answers.send((sent, outcome))));
            next += drivers;
        };
        let mut under_way = (driver..producers).step_by(drivers).map(|_| send(Instant::now())).count();
        while under_way > 0 {
            let (sent, outcome): (Instant, Result<(), String>) = answered.recv()?;
            outcome.map_err(|error| anyhow!(error))?;
            let now = Instant::now();
            latencies.record(now - sent);
            if now - started < time { send(now) } else { under_way -= 1 }
        }
        Ok(latencies)
    };
    let all: anyhow::Result<Vec<Latencies>> = std::thread::scope(|scope| {
        let drivers: Vec<_> = (0..drivers).map(|driver| scope.spawn(move || drive(driver))).collect();
        drivers.into_iter().map(|driver| driver.join().expect("a driver does not panic")).collect()
    });
    let elapsed = started.elapsed();
    let mut latencies = Latencies::new();
    all?.iter().for_each(|part| latencies.add(part));
    Ok(Round { per_second: latencies.count() as f64 / elapsed.as_secs_f64(), latencies })
}
