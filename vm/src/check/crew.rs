//! Crew: workers that do jobs side by side; their answers come in the order of the jobs.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crate::process::Meter;

/// Workers that take jobs `J` and give answers `A`. They end with this value.
#[derive(Debug)]
pub(super) struct Crew<J, A> {
    jobs: Option<Sender<(u64, J)>>,
    workers: Vec<JoinHandle<()>>,
    ended: Receiver<(u64, A)>,
    /// Answers that came before their turn.
    early: BTreeMap<u64, A>,
    /// The number of the next job that is handed in, and of the next answer that is taken out.
    next_in: u64,
    next_out: u64,
}

impl<J: Send + 'static, A: Send + 'static> Crew<J, A> {
    /// So many workers, at least 1.
    pub(super) fn new(at_once: usize, work: impl Fn(J) -> A + Clone + Send + 'static) -> Self {
        let (jobs, queue) = channel();
        let (answers, ended) = channel();
        let queue = Arc::new(Mutex::new(queue));
        let worker = |_| {
            let (queue, answers, work) = (Arc::clone(&queue), answers.clone(), work.clone());
            let meter = Meter::of_this_thread();
            std::thread::spawn(move || {
                meter.share();
                serve(&queue, &answers, work);
            })
        };
        let workers = (0..at_once.max(1)).map(worker).collect();
        let (jobs, early) = (Some(jobs), BTreeMap::new());
        Self { jobs, workers, ended, early, next_in: 0, next_out: 0 }
    }

    /// Waits until a worker is free; the number of the next job.
    pub(super) fn wait_for_room(&mut self) -> u64 {
        while self.open() >= self.workers.len() as u64 && self.receive() {}
        self.next_in
    }

    /// Takes a job in.
    pub(super) fn hand_in(&mut self, job: J) {
        // The workers listen as long as this value lives.
        let _ = self.jobs.as_ref().map(|jobs| jobs.send((self.next_in, job)).is_ok());
        self.next_in += 1;
    }

    /// Takes an answer in for which no job is needed.
    pub(super) fn answer(&mut self, answer: A) {
        self.early.insert(self.next_in, answer);
        self.next_in += 1;
    }

    /// The next answer; nothing if it is not there yet and `wait` does not hold, or if none is to
    /// come.
    pub(super) fn next(&mut self, wait: bool) -> Option<A> {
        while let Ok((number, answer)) = self.ended.try_recv() {
            self.early.insert(number, answer);
        }
        while wait && !self.early.contains_key(&self.next_out) && self.receive() {}
        let answer = self.early.remove(&self.next_out)?;
        self.next_out += 1;
        Some(answer)
    }

    /// Jobs that are under way.
    fn open(&self) -> u64 {
        self.next_in - self.next_out - self.early.len() as u64
    }

    /// Takes the next answer in, whichever it is; waits for it. False if none is to come.
    fn receive(&mut self) -> bool {
        let Some(Ok((number, answer))) = (self.open() > 0).then(|| self.ended.recv()) else {
            return false;
        };
        self.early.insert(number, answer);
        true
    }
}

/// Does jobs until there are no more.
fn serve<J, A>(
    queue: &Mutex<Receiver<(u64, J)>>,
    answers: &Sender<(u64, A)>,
    work: impl Fn(J) -> A,
) {
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((number, job)) = next else { return };
        if answers.send((number, work(job))).is_err() {
            return;
        }
    }
}

impl<J, A> Drop for Crew<J, A> {
    fn drop(&mut self) {
        self.jobs = None;
        for worker in self.workers.drain(..) {
            // One that panicked has said so itself.
            let _ = worker.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_come_in_the_order_of_the_jobs() {
        let (tell, told) = channel::<u32>();
        let told = Arc::new(Mutex::new(told));
        // The first job waits for the second, so the second's answer is there first.
        let work = move |job: u32| {
            if job == 0 {
                told.lock().unwrap().recv().unwrap();
            } else {
                tell.send(job).unwrap();
            }
            job
        };
        let mut crew = Crew::new(2, work);
        crew.hand_in(0);
        crew.hand_in(1);
        crew.answer(7);
        assert_eq!([(); 4].map(|()| crew.next(true)), [Some(0), Some(1), Some(7), None]);
        assert_eq!(crew.wait_for_room(), 3);
    }
}
