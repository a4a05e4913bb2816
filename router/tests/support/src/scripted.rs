//! An app that chooses its response by the path of the request.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use corundum_exchange::{BodyInterrupted, DynoBody};
use corundum_router::failure::Failure;

use corundum_test_support::noise::incompressible;
use tokio::sync::mpsc;

use crate::grid::{AppResponse, FakeApp, Observations, UnreadRequest, fields, read};

/// Makes the scripted app.
///
/// | path | response |
/// |---|---|
/// | `/head` | the head of the request in the form of the dyno ABI |
/// | `/echo` | the body of the request |
/// | `/early` | a response before the app has read the body |
/// | `/204`, `/304` | this status, with a body that must not be sent |
/// | `/stream`, `/large`, `/noise` | a streamed body: of two parts, of 16 MiB, of 4 MiB that do not compress |
/// | `/broken`, `/stuck` | a streamed body that breaks off, and one that stops after a part |
/// | `/slow` | no response within a minute |
/// | `/garbled`, `/interim`, `/long-head`, `/many-headers` | a head that the router must refuse |
/// | `/H10` and other codes, `/crashed`, `/none` | the failure with this code |
/// | other paths | `hello` |
///
/// The app records each request as `METHOD target|body|value of X`.
pub fn app() -> FakeApp {
    Box::new(|request| Box::pin(respond(request)))
}

/// A dyno that has a request, counted until it is dropped.
struct BusyDyno(Arc<Observations>);

impl BusyDyno {
    fn new(observed: &Arc<Observations>) -> Self {
        observed.busy.fetch_add(1, Ordering::SeqCst);
        Self(observed.clone())
    }
}

impl Drop for BusyDyno {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn respond(request: UnreadRequest) -> Result<AppResponse, Failure> {
    let UnreadRequest {
        head,
        body,
        observed,
        ..
    } = request;
    let busy = BusyDyno::new(&observed);
    let fields = fields(&head);
    let field = |name: &str| {
        let value = fields.get(name).map(Vec::as_slice).unwrap_or_default();
        String::from_utf8_lossy(value).into_owned()
    };
    let path = field("PATH_INFO");
    let body = if path == "/early" {
        Bytes::new()
    } else {
        read(body).await?
    };
    observed.requests.lock().unwrap().push(format!(
        "{} {}|{}|{}",
        field("REQUEST_METHOD"),
        field("REQUEST_URI"),
        String::from_utf8_lossy(&body).escape_debug(),
        field("HTTP_X")
    ));
    let soon = Duration::from_millis(20);
    let never = Duration::from_secs(60);
    let stream = |parts, pause, end| stream(&observed, parts, pause, end);
    // `Connection` names a field that the router has to remove.
    let mut response = AppResponse::new(200, &[("Connection", "X-Gone"), ("X-Gone", "1")], "");
    let headers = &mut response.headers;
    response.body = match path.as_str() {
        "/head" => DynoBody::Full(head.as_bytes().to_vec().into()),
        "/echo" => DynoBody::Full(body),
        "/early" => DynoBody::Full("early".into()),
        "/204" | "/304" => {
            response.status = path[1..].parse().unwrap();
            DynoBody::Full("not to be sent".into())
        }
        "/stream" => stream(vec!["one".into(), "two".into()], soon, Ok(())),
        "/broken" => stream(vec!["one".into()], soon, Err(BodyInterrupted)),
        "/stuck" => stream(vec!["one".into()], never, Ok(())),
        "/large" => {
            let part = Bytes::from(vec![b'x'; 64 << 10]);
            stream(vec![part; 256], Duration::ZERO, Ok(()))
        }
        "/noise" => {
            headers.push(("Content-Type".into(), "text/html".into()));
            let part = Bytes::from(incompressible(64 << 10));
            stream(vec![part; 64], Duration::ZERO, Ok(()))
        }
        "/slow" => {
            tokio::time::sleep(never).await;
            DynoBody::Full(Bytes::new())
        }
        "/garbled" => {
            headers.push(("X".into(), "a\rb".into()));
            DynoBody::Full(Bytes::new())
        }
        "/interim" => {
            response.status = 101;
            DynoBody::Full(Bytes::new())
        }
        "/long-head" => {
            headers.push(("X".into(), "a".repeat(100_000).into()));
            DynoBody::Full(Bytes::new())
        }
        "/many-headers" => {
            headers.extend((0..300).map(|_| ("X".into(), "a".into())));
            DynoBody::Full(Bytes::new())
        }
        path => match failure(path) {
            Some(failure) => return Err(failure),
            None => DynoBody::Full("hello".into()),
        },
    };
    drop(busy);
    Ok(response)
}

/// Makes a streamed body: its parts come `pause` apart, then it ends, or its dyno does.
fn stream(
    observed: &Arc<Observations>,
    parts: Vec<Bytes>,
    pause: Duration,
    end: Result<(), BodyInterrupted>,
) -> DynoBody {
    let (sender, receiver) = mpsc::channel(1);
    let (busy, observed) = (BusyDyno::new(observed), observed.clone());
    tokio::spawn(async move {
        for part in parts {
            let length = part.len() as u32;
            if sender.send(Ok(part)).await.is_err() {
                return;
            }
            observed.written.fetch_add(length, Ordering::SeqCst);
            tokio::time::sleep(pause).await;
        }
        if end.is_err() {
            let _ = sender.send(Err(BodyInterrupted)).await;
        }
        drop(busy);
    });
    DynoBody::Stream(receiver)
}

/// Returns the failure of the grid at this path.
fn failure(path: &str) -> Option<Failure> {
    Some(match path {
        "/H10" | "/crashed" => Failure::AppCrashed,
        "/H11" => Failure::BacklogTooDeep,
        "/H12" => Failure::RequestTimeout,
        "/H13" => Failure::ClosedWithoutResponse,
        "/H14" | "/none" => Failure::NoWebProcesses,
        "/H17" => Failure::PoorlyFormatted("not a header line: \"Hello\"".into()),
        "/H20" => Failure::BootTimeout,
        "/H25" => Failure::HEAD_TOO_LARGE,
        "/H80" => Failure::Maintenance,
        "/H81" => Failure::BlankApp,
        _ => return None,
    })
}
