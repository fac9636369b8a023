//! Command `up`: a guest that stays as long as the command runs, and loses power when told to.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use e2e::outcome::TimedOut;
use vm::crash::{CutAt, Survivors};
use vm::vnet::{Direction, Filter, Tear};
use vm::{Command, PendingCut};

use crate::cli::guest::HOME;
use crate::cli::power::UpArgs;
use crate::control::{Caller, Control, Heard, Reply, Request, When};
use crate::exit::{Exit, Usage};
use crate::report::progress::Progress;
use crate::session::{Dark, Session};
use crate::{env, signals, transfer, world};

use super::gate;
use super::run::{FOREVER, stream};

/// How long a guest may take to end whose marker has come.
const END_TIME: Duration = Duration::from_secs(30);

/// What happens while a guest is up.
enum Event {
    Heard(Heard),
    /// The guest that was booted as this one has ended; why.
    Ended(u64, anyhow::Error),
    Interrupted,
    /// A marker has not come in time.
    Late,
}

/// The guest, with power or without.
enum State {
    Up(Session),
    /// Until it executes a marker.
    Waiting(Session, Waiting),
    Dark(Dark),
}

/// A loss of power at a marker, and who waits for it.
struct Waiting {
    caller: Caller,
    request: Request,
    cut: PendingCut,
    deadline: Instant,
}

/// Keeps a guest up until it ends or the user ends it.
pub(crate) fn run(args: &UpArgs) -> anyhow::Result<u8> {
    gate::pass(&args.host)?;
    let control = Control::open(&env::runtime_dir(), &args.guest.guest)?;
    let mut progress = Progress::new(args.guest.quiet);
    let opened = Session::open_observed(&args.guest, &args.host, &mut progress);
    progress.close();
    let (tell, events) = channel();
    let teller = tell.clone();
    signals::on_interrupt(move || teller.send(Event::Interrupted).is_ok());
    let mut keeper = Keeper { args, tell, events, boots: 0 };
    let session = opened?;
    keeper.watch(&session)?;
    let teller = keeper.tell.clone();
    // Without a keeper the process ends, and callers see that.
    control.listen(move |heard| drop(teller.send(Event::Heard(heard))))?;
    announce(&session);
    keeper.keep(session)
}

fn announce(session: &Session) {
    let (name, kernel) = (session.guest().name(), session.guest().kernel());
    eprintln!("vmctl: {name} is up, kernel {kernel}; it ends with this command (Ctrl-C)");
    eprintln!("vmctl: its power: vmctl power cut|cycle {name}");
}

struct Keeper<'a> {
    args: &'a UpArgs,
    tell: Sender<Event>,
    events: Receiver<Event>,
    /// How often the guest was booted.
    boots: u64,
}

impl Keeper<'_> {
    fn keep(mut self, session: Session) -> anyhow::Result<u8> {
        let mut state = State::Up(session);
        loop {
            state = match (self.next(&state)?, state) {
                (Event::Heard(Heard::Asked(caller, request)), state) => {
                    self.act(caller, request, state)?
                }
                (Event::Heard(Heard::Left(id)), State::Waiting(session, waiting))
                    if waiting.caller.id == id && waiting.cut.withdraw() =>
                {
                    eprintln!("vmctl: who waited for marker {} has gone", waiting.cut.at());
                    State::Up(session)
                }
                (Event::Late, State::Waiting(session, waiting)) => {
                    self.give_up(session, waiting)?
                }
                (Event::Ended(boot, why), State::Up(session)) if boot == self.boots => {
                    match session.lost_power(Duration::ZERO) {
                        Ok((dark, at)) => self.lost(dark, &at)?,
                        Err(ended) => return ended.0.end(Err(why)),
                    }
                }
                (Event::Ended(boot, why), State::Waiting(session, waiting))
                    if boot == self.boots =>
                {
                    match session.lost_power(Duration::ZERO) {
                        Ok((dark, at)) => self.lost_as_asked(dark, &at, waiting)?,
                        Err(ended) => {
                            say(waiting.caller, Err(&why));
                            return ended.0.end(Err(why));
                        }
                    }
                }
                (Event::Interrupted, State::Up(session) | State::Waiting(session, _)) => {
                    return self.end(session);
                }
                (Event::Interrupted, State::Dark(dark)) => {
                    dark.end();
                    return Ok(0);
                }
                (Event::Heard(Heard::Left(_)) | Event::Ended(..) | Event::Late, state) => state,
            };
        }
    }

    /// What happens next.
    fn next(&self, state: &State) -> anyhow::Result<Event> {
        let event = match state {
            State::Waiting(_, waiting) => {
                let left = waiting.deadline.saturating_duration_since(Instant::now());
                match self.events.recv_timeout(left) {
                    Err(RecvTimeoutError::Timeout) => return Ok(Event::Late),
                    event => event.ok(),
                }
            }
            State::Up(_) | State::Dark(_) => self.events.recv().ok(),
        };
        event.context("keep the guest")
    }

    fn end(&self, session: Session) -> anyhow::Result<u8> {
        let guest = session.guest();
        let copied = self.args.guest.get.iter().try_for_each(|copy| transfer::get(guest, copy));
        session.end(Ok(0)).and_then(|status| copied.map(|()| status))
    }

    /// Does what is asked, or begins to wait for it. An error ends the guest.
    fn act(&mut self, caller: Caller, request: Request, state: State) -> anyhow::Result<State> {
        match (request.when, state) {
            (When::Now, State::Dark(dark)) if request.cycle => {
                let booted = self.boot(dark, "");
                answer(caller, booted)
            }
            (_, State::Dark(dark)) => {
                let why = "the guest has no power; `cycle` boots it";
                Ok(refuse(caller, why, State::Dark(dark)))
            }
            (When::At(at), State::Up(session)) => Ok(wait(caller, request, at, session)),
            (When::At(_), State::Waiting(session, waiting)) => {
                let why = format!("somebody waits for marker {} already", waiting.cut.at());
                Ok(refuse(caller, &why, State::Waiting(session, waiting)))
            }
            (_, State::Waiting(session, waiting)) if waiting.cut.withdraw() => {
                let why = format!("power is taken before marker {} has come", waiting.cut.at());
                say(waiting.caller, Err(&Usage(why).into()));
                self.act(caller, request, State::Up(session))
            }
            (_, State::Waiting(session, waiting)) => {
                let why = format!("power is lost at marker {} just now", waiting.cut.at());
                Ok(refuse(caller, &why, State::Waiting(session, waiting)))
            }
            (When::Now, State::Up(session)) => {
                let went_on = self.go_on(session.power_fail(), "", &request);
                answer(caller, went_on)
            }
            (When::InFrame(bytes), State::Up(session)) => {
                match tear(&session, bytes, request.within) {
                    Ok(place) => {
                        let went_on = self.go_on(session.power_fail(), &place, &request);
                        answer(caller, went_on)
                    }
                    Err(why) => {
                        say(caller, Err(&why));
                        Ok(State::Up(session))
                    }
                }
            }
        }
    }

    /// The guest has lost its power at a marker of its own.
    fn lost(&mut self, dark: Dark, at: &str) -> anyhow::Result<State> {
        let (when, within) = (When::Now, Duration::ZERO);
        let request = Request { cycle: false, when, within, seed: world::fresh_seed() };
        let (state, _) = self.go_on(dark, at, &request)?;
        eprintln!("vmctl: it boots again by: vmctl power cycle {}", self.args.guest.guest);
        Ok(state)
    }

    fn lost_as_asked(&mut self, dark: Dark, at: &str, by: Waiting) -> anyhow::Result<State> {
        let went_on = self.go_on(dark, at, &by.request);
        answer(by.caller, went_on)
    }

    /// The time for a marker is over.
    fn give_up(&mut self, session: Session, waiting: Waiting) -> anyhow::Result<State> {
        let at = waiting.cut.at();
        if waiting.cut.withdraw() {
            let what = format!(
                "marker {at}, which no program in the guest has executed so often; the guest goes \
                 on; --within SECONDS waits longer"
            );
            say(waiting.caller, Err(&TimedOut { limit: waiting.request.within, what }.into()));
            return Ok(State::Up(session));
        }
        match session.lost_power(END_TIME) {
            Ok((dark, at)) => self.lost_as_asked(dark, &at, waiting),
            Err(not) => {
                let (session, why) = *not;
                say(waiting.caller, Err(&why.into()));
                Ok(State::Up(session))
            }
        }
    }

    /// What comes after a loss of power at `place`: what survives is drawn, and the guest boots if
    /// it is to. What the guest is then, and what to say.
    fn go_on(
        &mut self,
        dark: Dark,
        place: &str,
        request: &Request,
    ) -> anyhow::Result<(State, String)> {
        let seed = request.seed;
        let lines = match dark.settle(Survivors::Random(seed))? {
            Some(lines) => {
                format!("{lines} lines were not durable, seed {seed} drew what survives")
            }
            None => "every store survives, for no observer knows what was durable".to_owned(),
        };
        let said = format!("power was cut{place}; {lines}\n");
        if request.cycle {
            return self.boot(dark, &said);
        }
        eprintln!("vmctl: {}", said.trim_end());
        Ok((State::Dark(dark), said))
    }

    fn boot(&mut self, dark: Dark, said: &str) -> anyhow::Result<(State, String)> {
        let session = dark.boot(&self.args.guest)?;
        self.watch(&session)?;
        let said = format!("{said}{} is up again", session.guest().name());
        eprintln!("vmctl: {said}");
        Ok((State::Up(session), said))
    }

    /// Tells of the guest's end, whenever it comes.
    fn watch(&mut self, session: &Session) -> anyhow::Result<()> {
        self.boots += 1;
        let (boot, tell) = (self.boots, self.tell.clone());
        // Its input never ends, so neither does it.
        let running = session.guest().spawn(&Command::new("cat").timeout(FOREVER));
        let running = running.context("watch the guest")?;
        std::thread::spawn(move || {
            let why = loop {
                match running.recv(Instant::now() + FOREVER) {
                    Ok(vm::Event::Exit(_)) => break anyhow!("the guest is going down"),
                    Ok(_) => {}
                    Err(why) => break why.into(),
                }
            };
            // The keeper may have gone first.
            let _ = tell.send(Event::Ended(boot, why));
        });
        self.start(session)
    }

    /// Starts the user's program; what it says is said here.
    fn start(&self, session: &Session) -> anyhow::Result<()> {
        let Some((program, args)) = self.args.command.split_first() else { return Ok(()) };
        let command = Command::new(program).args(args).cwd(HOME).timeout(FOREVER);
        let running = session.guest().spawn(&command).context("start the program")?;
        std::thread::spawn(move || match stream(&running, None) {
            Ok(code) => eprintln!("vmctl: the program ended: {code}"),
            // If it is the guest that has ended, the keeper tells why.
            Err(why) => {
                let failure = why.downcast_ref().and_then(vm::Error::failure);
                if let Some(vm::Failure::Agent(words)) = failure {
                    eprintln!("vmctl: not started: {words}");
                }
            }
        });
        Ok(())
    }
}

/// Begins to wait for a marker.
fn wait(caller: Caller, request: Request, at: CutAt, session: Session) -> State {
    match session.cut_at(at) {
        Ok(cut) => {
            eprintln!("vmctl: power goes at marker {at}");
            let deadline = Instant::now() + request.within;
            State::Waiting(session, Waiting { caller, request, cut, deadline })
        }
        Err(why) => {
            say(caller, Err(&why));
            State::Up(session)
        }
    }
}

/// Stops the NIC in the middle of a frame; says where.
fn tear(session: &Session, bytes: usize, within: Duration) -> anyhow::Result<String> {
    let vnet = session.vnet().ok_or_else(|| Usage("the guest has no NIC".to_owned()))?;
    let filter = Filter::new().direction(Direction::ToGuest).len_at_least(bytes.saturating_add(1));
    let torn = vnet.tear(Tear { filter, nth: 1, bytes });
    let stopped = torn.wait(within).map_err(|_| TimedOut {
        limit: within,
        what: format!("a frame of more than {bytes} bytes to the guest"),
    })?;
    Ok(format!(" behind byte {bytes} of a frame of {} bytes", stopped.frame.len))
}

/// Tells what was done, or why the guest ends.
fn answer(caller: Caller, done: anyhow::Result<(State, String)>) -> anyhow::Result<State> {
    say(caller, done.as_ref().map(|(_, said)| said.as_str()));
    done.map(|(state, _)| state)
}

fn refuse(caller: Caller, why: &str, state: State) -> State {
    say(caller, Err(&Usage(why.to_owned()).into()));
    state
}

fn say(caller: Caller, said: Result<&str, &anyhow::Error>) {
    caller.reply(&match said {
        Ok(said) => Reply { status: Exit::Pass as u8, said: said.trim_end().to_owned() },
        Err(why) => Reply { status: Exit::of_error(why) as u8, said: format!("{why:#}") },
    });
}
