//! The engine against scriptable registries: what cannot be reached from the command line.

use std::time::Duration;

use scriptable_registry as fake;
use scriptable_registry::Mounts;
use tokio::sync::oneshot;

use super::*;
use crate::event::Category;
use crate::registry::Keyring;

/// Hears nothing, but panics at the events that a test chooses.
struct Panicky(fn(&Event) -> bool);

impl Listener for Panicky {
    fn hear(&self, event: &Event) {
        assert!(!(self.0)(event), "a panic on purpose");
    }
}

fn engine(limits: Limits, panics_at: fn(&Event) -> bool) -> Arc<Engine> {
    let clients = Arc::new(Clients::new(Arc::new(Keyring::default()), limits.requests).unwrap());
    Engine::new(clients, limits, Policy::default(), Arc::new(Panicky(panics_at)))
}

fn task(from: &fake::Registry, source: &str, to: &fake::Registry, destination: &str) -> Task {
    let tagged = |host: &str, name: &str| {
        let (path, tag) = name.split_once(':').unwrap();
        format!("{host}/{path}").parse::<Repository>().unwrap().tagged(tag.parse().unwrap())
    };
    Task { source: tagged(&from.host(), source), destination: tagged(&to.host(), destination) }
}

/// Nothing may hang. The guard is no measure of speed.
async fn run(engine: &Arc<Engine>, tasks: &[Task]) -> Vec<(usize, Failure)> {
    tokio::time::timeout(Duration::from_secs(120), engine.run(tasks, true)).await.expect("the engine stopped")
}

fn image(layers: &[u64]) -> fake::Image {
    layers.iter().fold(fake::Image::new("linux/amd64"), |image, &layer| image.layer_of(layer, 1000 + layer))
}

/// What an image waits for that needs a blob which nobody has brought.
fn want(engine: &Engine, blob: u8, source: &str, destination: &str) -> oneshot::Receiver<board::Answer> {
    let [source, destination]: [Repository; 2] = [source, destination].map(|name| name.parse().unwrap());
    let job = Job { place: 0, image: Arc::new(destination.clone().tagged("1".parse().unwrap())) };
    match engine.board.want(&Digest::of(&[blob]), 5000, &source, &destination, &job) {
        board::Wanted::Await { answer, .. } => answer,
        _ => panic!("nothing is known of it"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_panics_is_a_failed_task() {
    let (source, destination) = (fake::Registry::open().await, fake::Registry::open().await);
    source.put("app", "1", &image(&[1]));
    source.put("app", "2", &image(&[2]));
    let tasks = [task(&source, "app:1", &destination, "app:1"), task(&source, "app:2", &destination, "app:2")];
    let first_done =
        |event: &Event| matches!(event, Event::ImageDone { source, .. } if source.to_string().ends_with(":1"));
    let failed = run(&engine(Limits::for_workers(7), first_done), &tasks).await;
    assert!(matches!(&failed[..], [(0, failure)] if failure.reason.contains("internal error")), "{failed:?}");
    assert_eq!(destination.digest("app", "2"), source.digest("app", "2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_whose_flight_panics_fails_its_image_and_frees_its_place() {
    let (source, destination) = (fake::Registry::open().await, fake::Registry::open().await);
    source.put("app", "1", &image(&[1]));
    source.put("other", "1", &image(&[2]));
    let tasks = [task(&source, "app:1", &destination, "app:1"), task(&source, "other:1", &destination, "other:1")];
    let moved_to_app =
        |event: &Event| matches!(event, Event::BlobMoved { repository, .. } if repository.path() == "app");
    let limits = Limits { workers: 1, requests: 1, tiny: 1, streamed_from: 100, images: 2 };
    let failed = run(&engine(limits, moved_to_app), &tasks).await;
    assert!(matches!(failed[..], [(0, _)]), "{failed:?}");
    assert_eq!(destination.digest("other", "1"), source.digest("other", "1"));
    assert_eq!(destination.digest("app", "1"), None, "a tag is written only when everything is known to be there");
}

/// With one of everything each deadlock shows.
#[tokio::test(flavor = "multi_thread")]
async fn one_of_everything_is_enough_in_every_kind_of_world() {
    for mounts in [Mounts::Allowed, Mounts::Ignored, Mounts::Refused(405), Mounts::AfterManifest] {
        for streamed_from in [0, 1500, u64::MAX] {
            let source = fake::Registry::open().await;
            let destination = fake::Registry::builder().mounts(mounts).start().await;
            let mut tasks = Vec::new();
            for repository in 0..4_u64 {
                let name = format!("app{repository}");
                let other = image(&[1, 3, 700]).oci();
                let inner = fake::Index::new().image(&other).image(&image(&[2, 40 + repository]).oci());
                source.put(&name, "all", &fake::Index::new().index(&inner).image(&image(&[1, 2]).oci()));
                source.put(&name, "one", &image(&[1, 2, 10 + repository]));
                source.put(&name, "child", &other);
                source.retag(&name, "one", "alias");
                for tag in ["all", "one", "child", "alias"] {
                    let name = format!("{name}:{tag}");
                    tasks.push(task(&source, &name, &destination, &name));
                }
            }
            let limits = Limits { workers: 1, requests: 1, tiny: 1, streamed_from, images: 1 };
            assert_eq!(run(&engine(limits, |_| false), &tasks).await, []);
            for task in &tasks {
                let (path, tag) = (task.source.repository.path(), task.source.identifier.to_string());
                assert_eq!(source.digest(path, &tag), destination.digest(path, &tag));
                assert_eq!(destination.missing(path, &tag), [""; 0]);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_reached_when_the_run_is_cancelled_says_so() {
    let (source, destination) = (fake::Registry::open().await, fake::Registry::open().await);
    source.put("app", "1", &image(&[1]));
    let engine = engine(Limits::for_workers(1), |_| false);
    engine.cancel.cancel();
    let tasks = [task(&source, "app:1", &destination, "app:1"), task(&source, "app:1", &destination, "b:1")];
    let failed = run(&engine, &tasks).await;
    let is_cancelled = |failure: &Failure| failure.category == Category::Cancelled;
    assert!(matches!(&failed[..], [(0, a), (1, b)] if is_cancelled(a) && is_cancelled(b)), "{failed:?}");
    assert_eq!(source.count_all() + destination.count_all(), 0);
}

#[test]
fn an_image_in_progress_takes_little_room() {
    let engine = engine(Limits::for_workers(1), |_| false);
    let reference = "r.example.com/a".parse::<Repository>().unwrap().tagged("1".parse().unwrap());
    let task = Task { source: reference.clone(), destination: reference };
    let image = engine.image(0, &task, 1);
    // There are hundreds of them at once.
    assert!(size_of_val(&image.copy()) <= 12 << 10, "{}", size_of_val(&image.copy()));
}

#[test]
fn limits_grow_with_the_workers_and_are_bounded() {
    let limits = Limits::for_workers;
    assert_eq!((limits(1).requests, limits(1).tiny, limits(1).workers, limits(1).streamed_from), (1, 0, 1, 0));
    assert_eq!((limits(7).requests, limits(7).tiny, limits(7).workers), (35, 32, 7));
    assert_eq!((limits(500).requests, limits(500).tiny, limits(500).workers), (64, 32, 500));
    assert!(limits(7).images >= 4 * limits(7).requests, "images that wait must not keep requests from being sent");
}

#[tokio::test]
async fn a_flight_that_ends_before_it_began_gives_its_place_back() {
    let limits = Limits { workers: 1, requests: 1, tiny: 1, streamed_from: 100, images: 1 };
    let engine = engine(limits, |_| false);
    let want = || want(&engine, 0, "s.example.com/a", "d.example.com/a");
    let mut answer = want();
    // Spawned, and not polled before the round is over.
    engine.dispatch();
    engine.round().end().await;
    assert!(answer.try_recv().unwrap().is_err());
    let _next_round = want();
    assert_eq!(engine.board.take_ready().len(), 1);
}

#[tokio::test]
async fn what_gets_its_turn_as_another_place_is_handed_on_is_begun_at_once() {
    let limits = Limits { workers: 2, requests: 1, tiny: 1, streamed_from: 100, images: 1 };
    let engine = engine(limits, |_| false);
    let want = |blob, source, destination| want(&engine, blob, source, destination);
    let _sending = want(0, "s.example.com/a", "d.example.com/a");
    let ticket = engine.board.take_ready().remove(0);
    // One at a time from there, so that the next waits beside a free place; and another waits for what that would bring.
    engine.board.overloaded(&ticket);
    let given_up = want(1, "s.example.com/a", "d.example.com/b");
    let _waiting = want(1, "t.example.com/a", "d.example.com/c");
    assert_eq!(engine.board.take_ready().len(), 0);
    drop(given_up);
    engine.hand_on(&ticket.place);
    assert_eq!(engine.round().tasks(), 1);
}

#[tokio::test]
async fn what_waits_to_be_begun_when_the_run_is_cancelled_fails_at_once() {
    let limits = Limits { workers: 1, requests: 1, tiny: 1, streamed_from: 100, images: 1 };
    let engine = engine(limits, |_| false);
    // More than there are places for.
    let mut answers = [0, 1, 2].map(|blob| want(&engine, blob, "s.example.com/a", "d.example.com/a"));
    engine.cancel.cancel();
    engine.dispatch();
    for answer in &mut answers {
        let failure = answer.try_recv().unwrap().unwrap_err();
        assert_eq!(failure.category, Category::Cancelled);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_mounted_only_after_its_manifest_is_mounted_then_and_sent_before() {
    let source = fake::Registry::open().await;
    let destination = fake::Registry::builder().mounts(Mounts::AfterManifest).start().await;
    let shared = image(&[1, 2, 3, 4, 5, 6]);
    let engine = engine(Limits::for_workers(7), |_| false);
    // All at once: nobody waits for anybody's manifest, and the registry is soon asked no more.
    let mut first = Vec::new();
    for repository in 0..6 {
        let name = format!("app{repository}");
        source.put(&name, "1", &shared.clone().layer_of(100 + repository, 1_000));
        first.push(task(&source, &format!("{name}:1"), &destination, &format!("{name}:1")));
    }
    assert_eq!(run(&engine, &first).await, []);
    // Later the manifests are there, and what they name is mounted, however often it was refused before.
    destination.clear_log();
    source.put("late", "1", &shared.clone().layer_of(200, 1_000));
    let late = [task(&source, "late:1", &destination, "late:1")];
    assert_eq!(run(&engine, &late).await, []);
    let granted = destination.requests_of(fake::Kind::Mount).into_iter().filter(|mount| mount.status == Some(201));
    assert_eq!(granted.count(), 6);
    assert_eq!(destination.count(fake::Kind::UploadFinish), 2, "its own layer and configuration");
    assert_eq!(destination.missing("late", "1"), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_that_did_not_say_whether_it_is_open_is_asked_first_in_the_next_round() {
    let source = fake::Registry::open().await;
    let destination = fake::Registry::builder().mounts(Mounts::Refused(405)).start().await;
    // Of one blob each, so that nothing of an image is under way any more when it has failed.
    let tasks = ["amd64", "arm64", "riscv64"].map(|architecture| {
        source.put("app", architecture, &fake::Image::new(&format!("linux/{architecture}")));
        let name = format!("app:{architecture}");
        task(&source, &name, &destination, &name)
    });
    let engine = engine(Limits::for_workers(7), |_| false);
    // An upload without a place to send it to says nothing of the repository.
    destination.on(fake::Kind::UploadStart, fake::Answer::status(202));
    assert_eq!(run(&engine, &tasks).await.len(), 3);
    assert!(destination.count(fake::Kind::UploadStart) > 1, "nor does it stop any blob");
    destination.clear_hooks();
    destination.clear_log();
    destination.on(fake::Kind::UploadStart, fake::Answer::error(403, "DENIED", "read only"));
    assert_eq!(run(&engine, &tasks).await.len(), 3);
    let asked = [fake::Kind::UploadStart, fake::Kind::BlobHead, fake::Kind::Mount].map(|kind| destination.count(kind));
    assert_eq!(asked, [1, 0, 0], "it is asked once for all, and not blob by blob");
}
