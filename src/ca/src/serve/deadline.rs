//! The deadline a caller gives (`grpc-timeout`, gRPC over HTTP/2): past it nobody waits for the answer, so the
//! call is dropped as if the caller had gone away, and told so. Streams are bounded until they begin.

use std::time::Duration;

use axum::extract::Request;
use axum::http::HeaderValue;
use axum::middleware::Next;
use axum::response::Response;
use tonic::Status;

/// Holds a call to its deadline.
pub(super) async fn hold(request: Request, next: Next) -> Response {
    let limit = match request.headers().get("grpc-timeout").map(parse) {
        None => return next.run(request).await,
        Some(Ok(Duration::ZERO)) => return too_late().into_http(),
        Some(Ok(limit)) => limit,
        Some(Err(refused)) => return refused.into_http(),
    };
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => too_late().into_http(),
    }
}

fn too_late() -> Status {
    Status::deadline_exceeded("there was no answer in the time given.")
}

/// At most eight digits and a unit.
fn parse(value: &HeaderValue) -> Result<Duration, Status> {
    let malformed =
        || Status::invalid_argument("grpc-timeout: at most 8 digits and one of H, M, S, m, u, n.");
    let text = value.to_str().map_err(|_| malformed())?;
    let digits = text.strip_suffix(['H', 'M', 'S', 'm', 'u', 'n']).ok_or_else(malformed)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(malformed());
    }
    let count: u64 = digits.parse().map_err(|_| malformed())?;
    Ok(match text.as_bytes().last() {
        Some(b'H') => Duration::from_secs(count.saturating_mul(3600)),
        Some(b'M') => Duration::from_secs(count.saturating_mul(60)),
        Some(b'S') => Duration::from_secs(count),
        Some(b'm') => Duration::from_millis(count),
        Some(b'u') => Duration::from_micros(count),
        Some(b'n') => Duration::from_nanos(count),
        _ => return Err(malformed()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_read_as_the_specification_says_and_in_no_other_way() {
        let read = |text: &str| parse(&HeaderValue::from_str(text).unwrap()).ok();
        assert_eq!(read("1S"), Some(Duration::from_secs(1)));
        assert_eq!(read("99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        assert_eq!(read("0n"), Some(Duration::ZERO));
        assert_eq!(
            [read("2M"), read("20m"), read("30u")],
            [
                Some(Duration::from_secs(120)),
                Some(Duration::from_millis(20)),
                Some(Duration::from_micros(30))
            ]
        );
        for bad in ["", "S", "1", "123456789S", "+1S", "-1S", "1.5S", "1s", "1 S", "1SS"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
