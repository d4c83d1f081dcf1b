//! The route for what happened to a program: its journal, page by page or live.

use std::{collections::VecDeque, sync::Arc};

use axum::{
    Extension, Json,
    extract::State,
    http::HeaderMap,
    response::{IntoResponse, Response},
};
use futures_util::{Stream, stream};
use hersh_journal::Page;
use hersh_program::{ProgramRecord, Subscription};
use hersh_wire::{Code, EventList, EventView, Problem};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    extract::{Limit, OwnedProgram, Params},
    problem::Failure,
    stream::{event, last_event_id, live, permit, reader},
    view,
};
use crate::{
    auth::Caller,
    host::{Host, ProgramEntry},
};

/// The most records that a live stream reads at once.
const BATCH: usize = 100;

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct EventsQuery {
    /// Only those after this sequence number.
    after: Option<u64>,
    /// At most this many, 1 to 1,000; 100 if left out.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// Go on with what happens, as Server-Sent Events whose ids are sequence numbers.
    #[serde(default)]
    follow: bool,
}

/// The events of a program, oldest first. Those of long ago are folded away.
#[utoipa::path(
    get,
    path = "/programs/{id}/events",
    tag = "programs",
    security(("bearer" = ["read"])),
    params(("id" = String, Path, description = "The program's id"), EventsQuery,
        ("last-event-id" = Option<String>, Header, description = "Where a live stream goes on")),
    responses((status = 200, description = "One page, or a stream of them", content(
        (EventList = "application/json"), (String = "text/event-stream"))),
        (status = 503, description = "Too many live streams are open at once (`queue_full`): try again shortly",
            body = Problem, content_type = "application/problem+json")),
)]
pub(super) async fn events(
    State(host): State<Host>,
    Extension(caller): Extension<Caller>,
    OwnedProgram(entry): OwnedProgram,
    Params(query): Params<EventsQuery>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let limit = Limit::of(query.limit)?;
    let mut after = query.after.unwrap_or(0);
    if query.follow {
        if let Some(id) = last_event_id(&headers)? {
            let bad = |_| Failure::new(Code::BadRequest, "Last-Event-ID is not from here");
            after = id.parse().map_err(bad)?;
        }
        let permit = permit(&host, &caller)?;
        let events = follow(host.clone(), entry, after);
        return Ok(live(permit, events));
    }
    let _permit = reader(&host, &caller)?;
    let page = read(&host, &entry, after, limit).await?;
    let events = views(&page.records)?;
    let last = events.last().map(|event| event.seq);
    Ok(Json(EventList {
        events,
        next_after: last.filter(|_| page.has_more),
    })
    .into_response())
}

async fn read(
    host: &Host,
    entry: &Arc<ProgramEntry>,
    after: u64,
    limit: usize,
) -> Result<Page, Failure> {
    let row = entry.row();
    let page = host.blocking(move |host| host.journal().page(row, after, limit));
    Ok(page.await.map_err(|error| Failure::internal(&error))??)
}

fn views(records: &[ProgramRecord]) -> Result<Vec<EventView>, Failure> {
    let views = records.iter().map(view::event_view);
    views
        .collect::<Result<_, _>>()
        .map_err(|error| Failure::internal(&error))
}

/// Streams every record after the number `after`, then each new one as it comes, until the program is gone.
fn follow(
    host: Host,
    entry: Arc<ProgramEntry>,
    after: u64,
) -> impl Stream<Item = axum::response::sse::Event> + Send {
    let following = FollowedEvents {
        // Subscribed before the first read. Else a change between the two would go unnoticed.
        changes: entry.supervisor().subscribe(),
        host,
        entry,
        after,
        unsent: VecDeque::new(),
        over: false,
    };
    stream::unfold(following, |mut following| async move {
        let view = following.next().await?;
        let id = view.seq.to_string();
        Some((event(Some(&id), &view), following))
    })
}

struct FollowedEvents {
    host: Host,
    entry: Arc<ProgramEntry>,
    changes: Subscription,
    after: u64,
    unsent: VecDeque<EventView>,
    over: bool,
}

impl FollowedEvents {
    async fn next(&mut self) -> Option<EventView> {
        loop {
            if let Some(view) = self.unsent.pop_front() {
                self.after = view.seq;
                return Some(view);
            }
            let page = read(&self.host, &self.entry, self.after, BATCH)
                .await
                .ok()?;
            self.unsent = views(&page.records).ok()?.into();
            if self.unsent.is_empty() {
                if self.over {
                    return None;
                }
                // A record is in the journal before its change is seen here, so the next read finds it.
                self.over = self.changes.changed().await.is_none();
            }
        }
    }
}
