//! The listeners, and the way of a request from its arrival in the log to its answer.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use http::Response;
use http::header::{CONNECTION, HeaderValue};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::action::Instead;
use crate::body::ResponseBody;
use crate::intake::{Broken, Intake};
use crate::query::Query;
use crate::reply::Reply;
use crate::request::{Kind, Origin, Request};
use crate::route::{Route, is_repository_name};
use crate::state::Shared;
use crate::{access, blobs, limits, manifests, redirect, tags, tokens, uploads};

/// Serves connections until it is dropped, which closes them all.
pub(crate) async fn serve(listener: TcpListener, origin: Origin, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    shared.connections.fetch_add(1, SeqCst);
                    connections.spawn(connection(stream, origin, Arc::clone(&shared)));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(stream: TcpStream, origin: Origin, shared: Arc<Shared>) {
    // Without this the last piece of an answer may wait for the client's acknowledgement.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| answer(Arc::clone(&shared), origin, request));
    // An error here is a connection that broke, be it the client's doing or a hook's.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// Answers a request, or breaks its connection.
async fn answer(
    shared: Arc<Shared>,
    origin: Origin,
    request: http::Request<Incoming>,
) -> Result<Response<ResponseBody>, Broken> {
    let (head, body) = request.into_parts();
    let flight = shared.log.begin(described(origin, head));
    let entry = Arc::clone(&flight.entry);
    let request = &entry.request;
    let mut plan = shared.hooks.plan(request);
    if !plan.delay.is_zero() {
        tokio::time::sleep(plan.delay).await;
    }
    for gate in &plan.gates {
        gate.passed().await;
    }
    let mut body = Intake::new(body, Arc::clone(&entry), plan.cut_request_after, plan.stall_request_after);
    let reply = match plan.instead.take() {
        Some(Instead::Hang) => pending().await,
        Some(Instead::Drop) => return Err(Broken),
        Some(Instead::Answer(answer)) => answer.into(),
        None => match origin {
            Origin::Registry => registry(&shared, request, &mut body).await?,
            Origin::TokenServer => tokens::serve(&shared, request, &mut body).await?,
            Origin::BlobOrigin => redirect::serve(&shared, request),
        },
    };
    let can_go_on = body.settle().await?;
    for gate in &plan.answer_gates {
        gate.passed().await;
    }
    if plan.lose_answer {
        return Err(Broken);
    }
    let mut answer = reply.finish(&request.method, plan, flight);
    if !can_go_on {
        // As Go's server and nginx do, lest the next request be sent behind the bytes that nobody reads.
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(answer)
}

fn described(origin: Origin, head: http::request::Parts) -> Request {
    let path = head.uri.path().to_owned();
    let query = head.uri.query().unwrap_or_default().to_owned();
    let route = Route::of(origin, &head.method, &path, &Query::parse(&query));
    Request {
        number: 0,
        origin,
        kind: route.kind.unwrap_or(Kind::Other),
        method: head.method,
        path,
        query,
        repository: route.repository,
        reference: route.reference,
        from: route.from,
        upload: route.upload,
        headers: head.headers,
        received: 0,
        status: None,
        sent: 0,
    }
}

/// What the registry itself has to say.
async fn registry(shared: &Shared, request: &Request, body: &mut Intake) -> Result<Reply, Broken> {
    if let Some(refusal) = limits::refuse_by_length(shared, request) {
        return Ok(refusal);
    }
    let reply = match access::check(shared, request).and_then(|()| limits::refuse_missing(shared, request)) {
        Ok(()) => authorized(shared, request, body).await?,
        Err(refusal) => refusal,
    };
    Ok(reply.header("docker-distribution-api-version", "registry/2.0"))
}

async fn authorized(shared: &Shared, request: &Request, body: &mut Intake) -> Result<Reply, Broken> {
    let repository = request.repository.as_deref().unwrap_or_default();
    let reference = request.reference.as_deref().unwrap_or_default();
    if request.repository.is_some() && !is_repository_name(repository) {
        return Ok(Reply::error(400, "NAME_INVALID", "invalid repository name"));
    }
    Ok(match request.kind {
        Kind::Ping => Reply::status(200).json(&serde_json::json!({})),
        Kind::Catalog => tags::catalog(shared, request),
        Kind::TagList => tags::list(shared, request, repository),
        Kind::ManifestGet | Kind::ManifestHead | Kind::ManifestPut | Kind::ManifestDelete => {
            manifests::serve(shared, request, body, repository, reference).await?
        }
        Kind::Referrers => manifests::referrers(shared, request, repository, reference),
        Kind::BlobGet | Kind::BlobHead | Kind::BlobDelete => blobs::serve(shared, request, repository, reference),
        Kind::Mount | Kind::UploadStart => uploads::start(shared, request, repository),
        Kind::UploadChunk | Kind::UploadStatus | Kind::UploadFinish | Kind::UploadCancel => {
            let id = request.upload.as_deref().unwrap_or_default();
            uploads::serve(shared, request, body, repository, id).await?
        }
        Kind::Token | Kind::RedirectedGet | Kind::RedirectedHead | Kind::Other => {
            Reply::status(404).body("404 page not found\n")
        }
    })
}
