//! What every runtime does.

use container::{ContainerState, ExitReason, RuntimeError};

use crate::world::{World, block_on, can_run_containers, exec, finish};

pub type Test = (String, Box<dyn FnOnce() + std::panic::UnwindSafe>);

macro_rules! suite {
    ($($name:ident),* $(,)?) => {
        pub fn tests() -> Vec<Test> {
            let mut list: Vec<Test> = Vec::new();
            $(
                list.push((concat!("fake::", stringify!($name)).into(), Box::new(|| block_on(async {
                    $name(World::fake(stringify!($name))).await;
                }))));
                list.push((concat!("real::", stringify!($name)).into(), Box::new(|| if can_run_containers() {
                    block_on(async { $name(World::real(stringify!($name)).await).await });
                })));
            )*
            list
        }
    };
}

suite! {
    a_sandbox_is_made_once,
    a_created_container_waits_for_its_start,
    a_killed_container_ends_with_the_signals_code,
    an_exec_has_its_own_output_and_code,
    a_removed_sandbox_is_not_listed,
    a_sandbox_is_removed_while_a_container_is_being_made,
    a_container_that_was_never_started_is_removed,
    an_exec_in_an_ended_container_is_refused,
    a_container_without_a_sandbox_is_refused,
}

async fn a_sandbox_is_made_once(world: World) {
    let first = world.runtime.create_sandbox(&world.sandbox()).await.expect("a sandbox");
    let second = world.runtime.create_sandbox(&world.sandbox()).await.expect("the same");
    assert_eq!(first, second);
    world.done().await;
}

async fn a_created_container_waits_for_its_start(world: World) {
    world.runtime.create_sandbox(&world.sandbox()).await.expect("a sandbox");
    let config = world.container("waits", &["sleep", "1000"]);
    world.runtime.create_container(&config).await.expect("create");
    assert_eq!(world.state_of(&config.id).await, ContainerState::Created);
    world.runtime.start_container(&world.uid, &config.id).await.expect("start");
    assert!(world.state_of(&config.id).await.is_running());
    world.done().await;
}

async fn a_killed_container_ends_with_the_signals_code(world: World) {
    world.runtime.create_sandbox(&world.sandbox()).await.expect("a sandbox");
    let config = world.container("killed", &["sleep", "1000"]);
    world.run(&config).await;
    world.runtime.kill_container(&world.uid, &config.id, 9).await.expect("kill");
    let exit = world.exit_of(&config.id).await;
    assert_eq!((exit.code, exit.signal, exit.reason), (137, Some(9), ExitReason::Error));
    world.runtime.kill_container(&world.uid, &config.id, 9).await.expect("a second kill is fine");
    world.runtime.remove_container(&world.uid, &config.id).await.expect("remove");
    world.done().await;
}

async fn an_exec_has_its_own_output_and_code(world: World) {
    world.runtime.create_sandbox(&world.sandbox()).await.expect("a sandbox");
    let config = world.container("main", &["sleep", "1000"]);
    world.run(&config).await;
    let session = world.runtime.exec(&world.uid, &config.id, &exec(&["echo", "hello"])).await.expect("exec");
    let (text, code) = finish(session).await;
    assert!(text.ends_with("hello\n"), "{text:?}");
    assert_eq!(code, 0);
    world.done().await;
}

async fn a_removed_sandbox_is_not_listed(world: World) {
    world.runtime.create_sandbox(&world.sandbox()).await.expect("a sandbox");
    assert_eq!(world.runtime.list().await.expect("a list").len(), 1);
    world.runtime.remove_sandbox(&world.uid).await.expect("remove");
    world.runtime.remove_sandbox(&world.uid).await.expect("remove again");
    assert!(world.runtime.list().await.expect("a list").is_empty());
    world.done().await;
}

async fn a_sandbox_is_removed_while_a_container_is_being_made(world: World) {
    for round in 0..5 {
        world.runtime.create_sandbox(&world.sandbox()).await.expect("a sandbox");
        let config = world.container(&format!("early{round}"), &["sleep", "1000"]);
        let remove = async {
            while world.runtime.list().await.expect("a list")[0].containers.is_empty() {
                tokio::task::yield_now().await;
            }
            world.runtime.remove_sandbox(&world.uid).await.expect("remove");
        };
        // Made and then removed, or refused: either is fine, and both end.
        let (_, ()) = tokio::join!(world.runtime.create_container(&config), remove);
        assert!(world.runtime.list().await.expect("a list").is_empty());
    }
    world.done().await;
}

async fn a_container_that_was_never_started_is_removed(world: World) {
    world.runtime.create_sandbox(&world.sandbox()).await.expect("a sandbox");
    let config = world.container("unstarted", &["sleep", "1000"]);
    world.runtime.create_container(&config).await.expect("create");
    world.runtime.remove_container(&world.uid, &config.id).await.expect("remove");
    assert!(world.runtime.list().await.expect("a list")[0].containers.is_empty());
    world.done().await;
}

async fn an_exec_in_an_ended_container_is_refused(world: World) {
    world.runtime.create_sandbox(&world.sandbox()).await.expect("a sandbox");
    let config = world.container("ended", &["sleep", "1000"]);
    world.run(&config).await;
    world.runtime.kill_container(&world.uid, &config.id, 9).await.expect("kill");
    world.exit_of(&config.id).await;
    assert!(world.runtime.exec(&world.uid, &config.id, &exec(&["true"])).await.is_err());
    world.done().await;
}

async fn a_container_without_a_sandbox_is_refused(world: World) {
    let config = world.container("alone", &["true"]);
    let refused = world.runtime.create_container(&config).await;
    assert!(matches!(refused, Err(RuntimeError::NoSandbox { .. })), "{refused:?}");
    world.done().await;
}
