//! The web server: what is asked for by which address.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{Path, Query as Parameters, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware;
use axum::response::{IntoResponse, Response, Sse, sse};
use axum::routing::get;
use axum::{Json, Router};
use dcb::{CallOptions, CancelToken, Direction, Error, EventView, Status};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::{Semaphore, watch};

use crate::store::OpenStore;

use super::access::{Access, guard};
use super::condition::Verdict;
use super::events::{Event, Page, text};
use super::live::{self, List};
use super::names::{Kind, Names};
use super::overview::Overview;
use super::reading::{Reader, Wanted};
use super::sample::Sample;
use super::tag::AboutTag;
use super::{assets, query};

/// How old a sample may be before another is taken, if there are newer events.
const SAMPLE_AGE: Duration = Duration::from_secs(5);
/// How many live lists may run at once.
const MOST_LISTS: usize = 24;

/// The store with what the server remembers of it.
pub struct Server {
    store: Arc<OpenStore>,
    title: String,
    names: Mutex<Names>,
    sample: Mutex<Option<Arc<Sample>>>,
    head: watch::Receiver<i64>,
    lists: Arc<Semaphore>,
    /// How long the reads of one request may take. What is found by then is shown.
    patience: Duration,
}

/// Serves the page until one of the signals `ends` arrives.
pub async fn serve(
    listener: tokio::net::TcpListener,
    store: Arc<OpenStore>,
    title: String,
    patience: Duration,
    access: Arc<Access>,
    ends: [tokio::signal::unix::Signal; 2],
) -> dcb::Result<()> {
    let [mut interrupt, mut terminate] = ends;
    let server = Arc::new(Server {
        head: live::follow(Arc::clone(&store)),
        store,
        title,
        patience,
        names: Mutex::default(),
        sample: Mutex::default(),
        lists: Arc::new(Semaphore::new(MOST_LISTS)),
    });
    let router = Router::new()
        .route("/{token}/", get(|| async { assets::file("index.html") }))
        .route("/{token}/{file}", get(file))
        .route("/{token}/api/store", get(about))
        .route("/{token}/api/overview", get(overview))
        .route("/{token}/api/events", get(events))
        .route("/{token}/api/events/{position}", get(event))
        .route("/{token}/api/events/{position}/{part}", get(part))
        .route("/{token}/api/tag", get(tag))
        .route("/{token}/api/names", get(names))
        .route("/{token}/api/condition", get(condition))
        .route("/{token}/api/live", get(live_list))
        .fallback(|| async { assets::file("") })
        .layer(middleware::from_fn_with_state(access, guard))
        .with_state(server);
    tokio::select! {
        served = axum::serve(listener, router) => served.map_err(Error::from),
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    }
}

/// Returns what the page calls the store: the last part of its URI, without a password.
pub fn title_of(uri: &str) -> String {
    let path = uri.split(['?', '#']).next().unwrap_or(uri);
    path.rsplit(['/', '@', ':']).next().unwrap_or(path).to_owned()
}

/// A request that failed.
pub struct Failed(StatusCode, Error);

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        let code = match error.status {
            Status::InvalidArgument | Status::TooLarge => StatusCode::BAD_REQUEST,
            Status::Busy | Status::Closed | Status::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Failed(code, error)
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        let Failed(code, error) = self;
        let body = json!({"status": error.status.name(), "message": error.message});
        (code, Json(body)).into_response()
    }
}

/// Cancels the reads of a request whose browser has gone away.
struct CancelOnDrop(CancelToken);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.trigger();
    }
}

impl Server {
    /// Runs `work` in a thread that may block. Its reads are cut short when their time is over, or
    /// the browser has gone away.
    pub async fn read<T: Send + 'static>(
        self: Arc<Self>,
        work: impl FnOnce(&Server, &Reader<'_>) -> dcb::Result<T> + Send + 'static,
    ) -> Result<T, Failed> {
        let (patience, cancel) = (self.patience, CancelToken::new());
        let call = CallOptions { cancel: Some(cancel.clone()), ..CallOptions::default() };
        let guard = CancelOnDrop(cancel);
        let mut task = tokio::task::spawn_blocking(move || {
            let reader = Reader::new(&**self.store, call);
            work(&self, &reader)
        });
        let done = tokio::select! {
            done = &mut task => done,
            () = tokio::time::sleep(patience) => {
                guard.0.trigger();
                task.await
            }
        };
        let done =
            done.map_err(|_| Error::new(Status::Internal, "a request of the page failed"))?;
        Ok(done?)
    }

    /// Takes in the names of an event, for completion.
    pub fn see(&self, event: &EventView<'_>) {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).see(event);
    }

    /// Returns a sample of the store that is not too old.
    fn sample(&self, reader: &Reader<'_>) -> dcb::Result<Arc<Sample>> {
        let head = reader.head()?;
        // Held while the sample is taken: a second request waits for it, and takes none.
        let mut kept = self.sample.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sample) = &*kept
            && (sample.head == head || sample.made.elapsed() < SAMPLE_AGE)
        {
            return Ok(Arc::clone(sample));
        }
        let sample = Arc::new(Sample::take(reader, head)?);
        sample.tell(&mut self.names.lock().unwrap_or_else(PoisonError::into_inner));
        if !reader.is_over() {
            *kept = Some(Arc::clone(&sample));
        }
        Ok(sample)
    }
}

async fn file(Path((_, name)): Path<(String, String)>) -> Response {
    assets::file(&name)
}

async fn about(State(server): State<Arc<Server>>) -> Response {
    Json(json!({"title": server.title, "version": env!("CARGO_PKG_VERSION")})).into_response()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OverviewParameters {
    window_us: Option<i64>,
}

async fn overview(
    State(server): State<Arc<Server>>,
    Parameters(parameters): Parameters<OverviewParameters>,
) -> Result<Response, Failed> {
    let overview = server.read(move |server, reader| {
        let sample = server.sample(reader)?;
        Overview::of(reader, &sample, parameters.window_us)
    });
    Ok(Json(overview.await?).into_response())
}

#[derive(Deserialize)]
struct PageParameters {
    query: Option<String>,
    after: Option<i64>,
    before: Option<i64>,
    limit: Option<usize>,
    #[serde(default)]
    forward: bool,
}

async fn events(
    State(server): State<Arc<Server>>,
    Parameters(parameters): Parameters<PageParameters>,
) -> Result<Response, Failed> {
    let wanted = Wanted {
        query: query::parse(parameters.query.as_deref())?,
        after: parameters.after.unwrap_or(0),
        before: parameters.before,
        limit: parameters.limit.unwrap_or(100).clamp(1, super::events::MOST),
        direction: Direction::from_backwards(!parameters.forward),
    };
    let page =
        server.read(move |server, reader| Page::read(reader, wanted, &|event| server.see(event)));
    Ok(Json(page.await?).into_response())
}

async fn event(
    State(server): State<Arc<Server>>,
    Path((_, position)): Path<(String, i64)>,
) -> Result<Response, Failed> {
    match server.read(move |_, reader| Event::read(reader, position)).await? {
        Some(event) => Ok(Json(event).into_response()),
        None => Err(no_event(position)),
    }
}

/// Sends the whole data, or the whole metadata, as a file.
async fn part(
    State(server): State<Arc<Server>>,
    Path((_, position, part)): Path<(String, i64, String)>,
) -> Result<Response, Failed> {
    let is_metadata = match part.as_str() {
        "data.json" => false,
        "metadata.json" => true,
        _ => return Ok(assets::file("")),
    };
    let found = server.read(move |_, reader| text(reader, position, is_metadata)).await?;
    let text = found.ok_or_else(|| no_event(position))?;
    let name = format!("attachment; filename=\"event-{position}-{part}\"");
    let kind = "application/json".to_owned();
    Ok(([(header::CONTENT_TYPE, kind), (header::CONTENT_DISPOSITION, name)], text).into_response())
}

fn no_event(position: i64) -> Failed {
    let error = Error::invalid(format!("there is nothing of that kind at position {position}"));
    Failed(StatusCode::NOT_FOUND, error)
}

#[derive(Deserialize)]
struct TagParameters {
    tag: String,
}

async fn tag(
    State(server): State<Arc<Server>>,
    Parameters(parameters): Parameters<TagParameters>,
) -> Result<Response, Failed> {
    let about = server.read(move |_, reader| AboutTag::of(reader, &parameters.tag));
    Ok(Json(about.await?).into_response())
}

#[derive(Deserialize)]
struct NameParameters {
    kind: Kind,
    #[serde(default)]
    text: String,
}

async fn names(
    State(server): State<Arc<Server>>,
    Parameters(NameParameters { kind, text }): Parameters<NameParameters>,
) -> Result<Response, Failed> {
    let found = server.read(move |server, reader| {
        let sample = server.sample(reader)?;
        let mut names = server.names.lock().unwrap_or_else(PoisonError::into_inner);
        Ok((names.suggest(kind, &text), sample.is_whole()))
    });
    let (names, is_whole) = found.await?;
    Ok(Json(json!({"names": names, "isWhole": is_whole})).into_response())
}

#[derive(Deserialize)]
struct ConditionParameters {
    query: Option<String>,
    #[serde(default)]
    after: i64,
}

async fn condition(
    State(server): State<Arc<Server>>,
    Parameters(parameters): Parameters<ConditionParameters>,
) -> Result<Response, Failed> {
    let query = query::parse(parameters.query.as_deref())?;
    let verdict = server.read(move |_, reader| Verdict::on(reader, query, parameters.after));
    Ok(Json(verdict.await?).into_response())
}

async fn live_list(
    State(server): State<Arc<Server>>,
    Parameters(parameters): Parameters<ConditionParameters>,
    headers: HeaderMap,
) -> Result<Response, Failed> {
    let query = query::parse(parameters.query.as_deref())?;
    let Ok(place) = Arc::clone(&server.lists).try_acquire_owned() else {
        return Err(Error::new(Status::Busy, "too many live lists: close another one").into());
    };
    // A browser whose connection broke says what it saw last.
    let seen = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
    let head = server.head.clone();
    let after = seen.unwrap_or(parameters.after).max(0);
    let list = List { server, query, after, head, _place: place };
    let keep_alive = sse::KeepAlive::new().interval(Duration::from_secs(15));
    Ok(Sse::new(list.stream()).keep_alive(keep_alive).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_has_neither_the_folder_nor_the_password() {
        for (uri, title) in [
            ("sqlite:events.db", "events.db"),
            ("sqlite:/var/lib/shop/events.db", "events.db"),
            ("file:events.db?mode=ro", "events.db"),
            ("postgres://ada:secret@db.example/shop?sslmode=require", "shop"),
            ("postgres://ada:secret@db.example", "db.example"),
        ] {
            assert_eq!(title_of(uri), title, "{uri}");
        }
    }
}
