//! Rules about dynos that were restored from one image.

use std::collections::HashSet;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::probe::{Deployment, ProbeApp, ProbePack};
use super::{ConformanceReport, ensure};

/// Dynos whose random numbers are compared.
const DYNOS: usize = 8;

/// Checks the rules.
pub(super) async fn check(
    pack: &ProbePack,
    app: &ProbeApp,
    image: &Path,
    report: &mut ConformanceReport,
) -> anyhow::Result<()> {
    report
        .check(
            "copies: random numbers of dynos differ",
            "seed every generator in dyno_restore, from getentropy",
            async {
                let mut seen = HashSet::new();
                for _ in 0..DYNOS {
                    let number = app.text(Deployment::Fresh, "/random").await?;
                    ensure(seen.insert(number.clone()), || format!("{number} twice"))?;
                }
                Ok(String::new())
            },
        )
        .await;
    report
        .check(
            "copies: random numbers of two deployments of an image differ",
            "seed from getentropy in dyno_restore; the time or the process number is the same in some dynos",
            async {
                let other = pack.deploy(image).map_err(|error| error.to_string())?;
                let one = app.text(Deployment::Fresh, "/random").await?;
                let two = other.text(Deployment::Fresh, "/random").await?;
                ensure(one != two, || format!("{one} twice"))?;
                Ok(String::new())
            },
        )
        .await;
    report
        .check(
            "copies: /tmp is private to a dyno",
            "use the host's files; a file system of the runtime's own in memory is part of the image",
            async {
                let written = app.text(Deployment::Fresh, "/write").await?;
                ensure(written == "written", || format!("/write is {written:?}"))?;
                let found = app.text(Deployment::Fresh, "/written").await?;
                ensure(found == "no", || "another dyno sees the file".to_owned())?;
                Ok(String::new())
            },
        )
        .await;
    report
        .check(
            "copies: the clock is that of now",
            "cache no time in dyno_boot; read it from the host at each use",
            async {
                let text = app.text(Deployment::Fresh, "/clock").await?;
                let number: f64 = text.parse().map_err(|_| format!("/clock is {text:?}"))?;
                let now = SystemTime::now().duration_since(UNIX_EPOCH);
                let off = (now.map_or(0.0, |now| now.as_secs_f64()) - number).abs();
                ensure(off < 3.0, || format!("{off:.0} s off"))?;
                Ok(String::new())
            },
        )
        .await;
    Ok(())
}
