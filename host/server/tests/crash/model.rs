//! What one program's user knows: which commands were acknowledged, and which one was under way
//! when the host died. One command at a time, so the journal must tell the same story.

use hersh_machine::SplitMix64;
use hersh_program::{Event, ProgramRecord};
use serde_json::Value;

use crate::client::{Client, program};

/// Too many uploads at once: nothing was done.
const BUSY: u16 = 503;

/// A command, by the event that it leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    Start,
    Stop,
    Restart,
    Replace,
    Delete,
}

impl Deed {
    fn draw(random: &mut SplitMix64) -> Self {
        match random.below(12) {
            0..=4 => Self::Start,
            5..=7 => Self::Stop,
            8..=9 => Self::Restart,
            10 => Self::Replace,
            _last => Self::Delete,
        }
    }

    /// The command that left `event`, if one did.
    pub(crate) fn of(event: &Event) -> Option<Self> {
        match event {
            Event::UserStartRequested => Some(Self::Start),
            Event::UserStopRequested => Some(Self::Stop),
            Event::UserRestartRequested => Some(Self::Restart),
            Event::UserDeleteRequested => Some(Self::Delete),
            Event::SourceReplaced { .. } => Some(Self::Replace),
            Event::UserRollBackRequested { .. }
            | Event::UserBuildRequested
            | Event::HostStarted { .. }
            | Event::InstanceNotAlive { .. }
            | Event::InstanceAlive { .. }
            | Event::InstanceSettled { .. }
            | Event::FoldersEnsured { .. }
            | Event::BuildFinished { .. }
            | Event::InstanceStarted { .. }
            | Event::StartFailed { .. }
            | Event::InstanceEnded { .. }
            | Event::StopFinished { .. }
            | Event::InstanceObserved { .. }
            | Event::DeadlinePassed { .. }
            | Event::RetryDue { .. }
            | Event::Removed { .. }
            | Event::HandlerPanicked { .. } => None,
        }
    }
}

/// Whether the program is there, as far as its user knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Absent,
    Creating,
    Present,
    Leaving,
}

#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) name: String,
    pub(crate) phase: Phase,
    /// Acknowledged since the last look at the journal, in order.
    acknowledged: Vec<Deed>,
    under_way: Option<Deed>,
    /// Its last record at the last look.
    seen_seq: u64,
    random: SplitMix64,
    versions: u64,
    pub(crate) total: u64,
    /// Commands under way at a crash that were found done, and not done.
    pub(crate) found: [u64; 2],
}

impl Model {
    pub(crate) fn new(name: String, seed: u64) -> Self {
        Self {
            name,
            phase: Phase::Absent,
            acknowledged: Vec::new(),
            under_way: None,
            seen_seq: 0,
            random: SplitMix64::new(seed),
            versions: 0,
            total: 0,
            found: [0; 2],
        }
    }

    /// Gives commands until the host answers no more.
    pub(crate) async fn give_commands(&mut self, client: &Client) {
        while self.give_command(client).await.is_some() {}
    }

    async fn give_command(&mut self, client: &Client) -> Option<()> {
        let path = format!("/programs/{}", self.name);
        match self.phase {
            Phase::Absent => {
                self.phase = Phase::Creating;
                let body = program(&self.name, self.versions);
                let (status, answer) = client.ask("POST", "/programs", &body).await?;
                if status == BUSY {
                    self.phase = Phase::Absent;
                    return Some(());
                }
                assert_eq!(status, 201, "{}: {answer}", self.name);
                self.phase = Phase::Present;
                self.seen_seq = 0;
                self.total += 1;
            }
            Phase::Creating => unreachable!("the last look at the journal settled that"),
            Phase::Present => {
                let deed = Deed::draw(&mut self.random);
                self.under_way = Some(deed);
                let (status, answer) = self.ask(client, &path, deed).await?;
                self.under_way = None;
                if status == BUSY {
                    return Some(());
                }
                assert!(matches!(status, 200 | 202), "{}: {answer}", self.name);
                self.acknowledged.push(deed);
                self.total += 1;
                if deed == Deed::Delete {
                    self.phase = Phase::Leaving;
                }
            }
            Phase::Leaving => {
                let (status, _) = client.ask("GET", &path, &Value::Null).await?;
                if status == 404 {
                    self.phase = Phase::Absent;
                    self.acknowledged.clear();
                }
            }
        }
        Some(())
    }

    async fn ask(&mut self, client: &Client, path: &str, deed: Deed) -> Option<(u16, Value)> {
        let post = async |what: &str| {
            client
                .ask("POST", &format!("{path}/{what}"), &Value::Null)
                .await
        };
        match deed {
            Deed::Start => post("start").await,
            Deed::Stop => post("stop").await,
            Deed::Restart => post("restart").await,
            Deed::Replace => {
                self.versions += 1;
                let mut body = program(&self.name, self.versions);
                body.as_object_mut().unwrap().remove("name");
                client.ask("PUT", &format!("{path}/source"), &body).await
            }
            Deed::Delete => client.ask("DELETE", path, &Value::Null).await,
        }
    }

    /// Holds the journal against what was acknowledged: each command once, in order, and at most
    /// the one under way besides. `records` is `None` if the journal does not know the program.
    pub(crate) fn compare(&mut self, records: Option<&[ProgramRecord]>, context: &str) {
        let context = format!("{context}: {self:?}");
        let acknowledged = std::mem::take(&mut self.acknowledged);
        let under_way = self.under_way.take();
        let Some(records) = records else {
            let may_be_gone = match self.phase {
                Phase::Absent | Phase::Creating | Phase::Leaving => true,
                Phase::Present => under_way == Some(Deed::Delete),
            };
            assert!(may_be_gone, "an acknowledged program is gone: {context}");
            self.phase = Phase::Absent;
            return;
        };
        match self.phase {
            Phase::Absent => panic!("a removed program is back: {context}"),
            Phase::Creating => {
                self.seen_seq = 0;
                self.phase = Phase::Present;
            }
            Phase::Present | Phase::Leaving => {}
        }
        let found: Vec<Deed> = records
            .iter()
            .filter(|record| record.seq > self.seen_seq)
            .filter_map(|record| Deed::of(&record.event))
            .collect();
        let mut with_last = acknowledged.clone();
        with_last.extend(under_way);
        assert!(
            found == acknowledged || found == with_last,
            "the journal holds {found:?}: {context}"
        );
        if under_way.is_some() {
            self.found[usize::from(found == acknowledged)] += 1;
        }
        if found.last() == Some(&Deed::Delete) {
            self.phase = Phase::Leaving;
        }
        self.seen_seq = records.last().map_or(0, |record| record.seq);
    }
}
