//! Command `up`: a guest that stays as long as the command runs, and loses power when told to.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use e2e::outcome::TimedOut;
use vm::Command;
use vm::crash::Survivors;
use vm::vnet::{Direction, Filter, Tear};

use crate::cli::guest::HOME;
use crate::cli::power::UpArgs;
use crate::control::{Control, Reply, Request};
use crate::exit::{Exit, Usage};
use crate::report::progress::Progress;
use crate::session::{Dark, Session};
use crate::{env, signals, transfer};

use super::gate;
use super::run::{FOREVER, stream};

/// How long a cut in the middle of a frame waits for the frame.
const FRAME_TIME: Duration = Duration::from_mins(1);

/// What happens while a guest is up.
enum Event {
    Asked(Request, Sender<Reply>),
    /// The guest that was booted as this one has ended; why.
    Ended(u64, anyhow::Error),
    Interrupted,
}

/// The guest, with power or without.
enum State {
    Up(Session),
    Dark(Dark),
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
    control.serve(asker(keeper.tell.clone()))?;
    announce(&session);
    keeper.keep(session)
}

fn announce(session: &Session) {
    let (name, kernel) = (session.guest().name(), session.guest().kernel());
    eprintln!("vmctl: {name} is up, kernel {kernel}; it ends with this command (Ctrl-C)");
    eprintln!("vmctl: its power: vmctl power cut|cycle {name}");
}

/// Hands requests to the keeper and waits for its replies.
fn asker(tell: Sender<Event>) -> impl FnMut(Request) -> Reply {
    move |request| {
        let (reply, answer) = channel();
        let gone = || Reply { status: Exit::GuestDied as u8, said: "the guest is gone".into() };
        match tell.send(Event::Asked(request, reply)) {
            Ok(()) => answer.recv().unwrap_or_else(|_| gone()),
            Err(_) => gone(),
        }
    }
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
            let event = self.events.recv().context("keep the guest")?;
            state = match (event, state) {
                (Event::Asked(request, reply), state) => match self.act(request, state) {
                    Ok((state, said)) => {
                        answer(&reply, said);
                        state
                    }
                    Err(why) => {
                        answer(&reply, Err(anyhow!("{why:#}")));
                        return Err(why);
                    }
                },
                (Event::Ended(boot, why), State::Up(session)) if boot == self.boots => {
                    return session.end(Err(why));
                }
                (Event::Ended(..), state) => state,
                (Event::Interrupted, State::Up(session)) => {
                    let guest = session.guest();
                    let copied =
                        self.args.guest.get.iter().try_for_each(|c| transfer::get(guest, c));
                    return session.end(Ok(0)).and_then(|status| copied.map(|()| status));
                }
                (Event::Interrupted, State::Dark(dark)) => {
                    dark.end();
                    return Ok(0);
                }
            };
        }
    }

    /// Does what is asked: what the guest is then, and what to say. An error ends the guest.
    fn act(
        &mut self,
        request: Request,
        state: State,
    ) -> anyhow::Result<(State, anyhow::Result<String>)> {
        let (dark, said) = match state {
            State::Dark(dark) if request.cycle && request.dma.is_none() => (dark, String::new()),
            State::Dark(dark) => {
                let why = Usage("the guest has no power; `cycle` boots it".to_owned());
                return Ok((State::Dark(dark), Err(why.into())));
            }
            State::Up(session) => {
                match request.dma.map(|bytes| tear(&session, bytes)).transpose() {
                    Err(why) => return Ok((State::Up(session), Err(why))),
                    Ok(torn) => lose_power(session, torn, request.seed)?,
                }
            }
        };
        if !request.cycle {
            eprintln!("vmctl: {said}");
            return Ok((State::Dark(dark), Ok(said)));
        }
        let session = dark.boot(&self.args.guest)?;
        self.watch(&session)?;
        let said = format!("{said}{} is up again", session.guest().name());
        eprintln!("vmctl: {said}");
        Ok((State::Up(session), Ok(said)))
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

/// Stops the NIC in the middle of a frame; says where.
fn tear(session: &Session, bytes: usize) -> anyhow::Result<String> {
    let vnet = session.vnet().ok_or_else(|| Usage("the guest has no NIC".to_owned()))?;
    let filter = Filter::new().direction(Direction::ToGuest).len_at_least(bytes.saturating_add(1));
    let torn = vnet.tear(Tear { filter, nth: 1, bytes });
    let frame = torn.wait(FRAME_TIME).map_err(|_| TimedOut {
        limit: FRAME_TIME,
        what: format!("a frame of more than {bytes} bytes to the guest"),
    })?;
    Ok(format!("behind byte {bytes} of a frame of {} bytes", frame.len))
}

/// Cuts the power; what survives is drawn by the seed.
fn lose_power(session: Session, torn: Option<String>, seed: u64) -> anyhow::Result<(Dark, String)> {
    let dark = session.power_fail();
    let place = torn.map_or_else(String::new, |place| format!(" {place}"));
    let lines = match dark.settle(Survivors::Random(seed))? {
        Some(lines) => format!("{lines} lines were not durable, seed {seed} drew what survives"),
        None => "every store survives, for no observer knows what was durable".to_owned(),
    };
    Ok((dark, format!("power was cut{place}; {lines}\n")))
}

fn answer(reply: &Sender<Reply>, said: anyhow::Result<String>) {
    let reply_is = match said {
        Ok(said) => Reply { status: Exit::Pass as u8, said: said.trim_end().to_owned() },
        Err(why) => Reply { status: Exit::of_error(&why) as u8, said: format!("{why:#}") },
    };
    // Whoever asked may have gone.
    let _ = reply.send(reply_is);
}
