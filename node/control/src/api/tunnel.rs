//! Connections of a user's own client program, such as `psql`, to the server of an add-on: the API's connection becomes the
//! server's. The server's own passwords protect the data, and no other address can be reached.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use corundum_api::ErrorId;
use corundum_api::addon_backup::TUNNEL_PROTOCOL;
use corundum_store::AddonRecord;
use http::header::{CONNECTION, UPGRADE};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::error::ApiError;
use super::response::ApiResult;
use crate::connections::places::Place;
use crate::services::addons::{AddonError, Addons};

/// The time to connect to the server.
const CONNECT: Duration = Duration::from_secs(10);

/// The time for a connection, as for any of the API.
const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// Makes the connection of a request one to the server of an add-on.
pub(super) async fn upgrade(
    addons: &Addons,
    addon: &AddonRecord,
    place: &Arc<Place>,
    mut request: Request<Incoming>,
) -> ApiResult {
    if !asks_for_upgrade(request.headers()) {
        let message =
            format!("this endpoint is for upgrades to {TUNNEL_PROTOCOL}: corundum pg:psql");
        return Err(ApiError::new(ErrorId::InvalidParams, message));
    }
    let address = addons.server_address(addon)?;
    let address = address.ok_or_else(|| AddonError::NoServer(addon.name.clone()))?;
    let connected = timeout(CONNECT, TcpStream::connect(address)).await;
    let connected = connected.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
    let mut server = connected.map_err(|error| {
        let message = format!("{}: its server does not answer: {error}", addon.name);
        ApiError::new(ErrorId::Conflict, message)
    })?;
    let _ = server.set_nodelay(true);
    let upgraded = hyper::upgrade::on(&mut request);
    let place = place.clone();
    tokio::spawn(async move {
        // The connection keeps its place among the client's until it ends.
        let _place = place;
        if let Ok(client) = upgraded.await {
            let mut client = TokioIo::new(client);
            let copied = copy_bidirectional(&mut client, &mut server);
            drop(timeout(LIFETIME, copied).await);
        }
    });
    let body = Empty::<Bytes>::new().map_err(|never| match never {});
    let mut response = Response::new(BodyExt::boxed_unsync(body));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static(TUNNEL_PROTOCOL));
    Ok(response)
}

/// Returns whether a request asks for the protocol of this module.
fn asks_for_upgrade(headers: &HeaderMap) -> bool {
    let upgrade = headers.get(UPGRADE).and_then(|value| value.to_str().ok());
    upgrade.is_some_and(|value| value.eq_ignore_ascii_case(TUNNEL_PROTOCOL))
}
