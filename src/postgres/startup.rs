//! The start of a connection: TLS, the password, and the settings of the session.

use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{
    ChannelBinding as Binding, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramSha256,
};
use postgres_protocol::message::backend::Message;
use postgres_protocol::message::frontend;

use fallible_iterator::FallibleIterator;

use crate::commit::deadline::Deadline;
use crate::error::{Error, Status};
use crate::postgres::failure::{Failure, Refusal};
use crate::postgres::host::Host;
use crate::postgres::parameters::{ChannelBinding, Parameters, SslMode};
use crate::postgres::socket::{self, broken};
use crate::postgres::stream::Stream;
use crate::postgres::wire::{Wire, unexpected};

/// A session whose first statement may be sent.
pub struct Started {
    /// Its messages.
    pub wire: Wire,
    /// The process that serves the session, as the startup names it. A pooler in transaction mode
    /// invents a number, since it gives each transaction another process.
    pub server_process: Option<i32>,
}

/// Opens a session on a host, within TLS or without as its `sslmode` says.
pub fn open(host: &Host, parameters: &Parameters, deadline: &Deadline) -> Result<Started, Failure> {
    let deadline = match parameters.connect_timeout {
        Some(limit) => &deadline.at_most(limit),
        None => deadline,
    };
    let mode = parameters.ssl_mode(host);
    let first = match mode {
        SslMode::Disable | SslMode::Allow => Tls::Never,
        SslMode::Prefer => Tls::IfOffered,
        SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => Tls::Always,
    };
    let failure = match open_by(first, host, parameters, deadline) {
        Ok(started) => return Ok(started),
        Err(failure @ (Failure::Stopped(_) | Failure::Late)) => return Err(failure),
        Err(failure) => failure,
    };
    let second = match mode {
        SslMode::Allow if cfg!(feature = "postgres-tls") => Tls::Always,
        SslMode::Prefer if cfg!(feature = "postgres-tls") => Tls::Never,
        _ => return Err(failure),
    };
    // The server may refuse a session of the first kind alone.
    open_by(second, host, parameters, deadline).map_err(|_| failure)
}

/// Whether a session is within TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tls {
    Never,
    IfOffered,
    Always,
}

#[cfg(feature = "postgres-tls")]
fn connect(
    tls: Tls,
    host: &Host,
    parameters: &Parameters,
    deadline: &Deadline,
) -> Result<Stream, Failure> {
    use crate::postgres::parameters::SslNegotiation;
    use crate::postgres::tls::TlsStream;

    let mut socket = socket::connect(host, parameters, deadline)?;
    if tls == Tls::Never {
        return Ok(Stream::Plain(socket));
    }
    if parameters.ssl_negotiation == SslNegotiation::Postgres {
        let mut request = bytes::BytesMut::new();
        frontend::ssl_request(&mut request);
        socket::send(&mut socket, &request, deadline)?;
        // One byte and no more, so that nobody can slip an answer in before the handshake.
        let mut answer = [0];
        socket::receive(&mut socket, &mut answer, deadline)?;
        match answer {
            [b'S'] => {}
            [b'N'] if tls == Tls::IfOffered => return Ok(Stream::Plain(socket)),
            [b'N'] => {
                return Err(Failure::Untrusted("the server has no TLS".to_owned()));
            }
            _ => return Err(unexpected()),
        }
    }
    Ok(Stream::Tls(Box::new(TlsStream::begin(socket, host, parameters, deadline)?)))
}

#[cfg(not(feature = "postgres-tls"))]
fn connect(
    tls: Tls,
    host: &Host,
    parameters: &Parameters,
    deadline: &Deadline,
) -> Result<Stream, Failure> {
    if tls == Tls::Always {
        let what = if parameters.has_ssl_mode() {
            format!("{host}: sslmode demands TLS, which this build of the library does not have")
        } else {
            format!(
                "{host}: a connection over the network needs TLS, which this build of the library \
                 does not have (sslmode=disable in the uri connects without)"
            )
        };
        return Err(Failure::Stopped(Error::invalid(what)));
    }
    Ok(Stream::Plain(socket::connect(host, parameters, deadline)?))
}

fn open_by(
    tls: Tls,
    host: &Host,
    parameters: &Parameters,
    deadline: &Deadline,
) -> Result<Started, Failure> {
    let stream = connect(tls, host, parameters, deadline)?;
    let mut wire = Wire::new(stream);
    let mut settings = vec![
        ("user", parameters.user.as_str()),
        ("database", &parameters.database),
        ("client_encoding", "UTF8"),
        ("application_name", &parameters.application_name),
    ];
    if let Some(options) = &parameters.options {
        settings.push(("options", options));
    }
    frontend::startup_message(settings, &mut wire.outgoing).map_err(|error| broken(&error))?;
    wire.send(deadline)?;
    authenticate(&mut wire, host, parameters, deadline)?;
    let mut server_process = None;
    loop {
        match wire.receive(deadline)? {
            Message::BackendKeyData(body) => server_process = Some(body.process_id()),
            Message::ReadyForQuery(_) => return Ok(Started { wire, server_process }),
            Message::ErrorResponse(body) => return Err(refused(&body)),
            _ => return Err(unexpected()),
        }
    }
}

fn refused(body: &postgres_protocol::message::backend::ErrorResponseBody) -> Failure {
    // Before the session is ready, every error ends the connection.
    Failure::Refused(Refusal { is_fatal: true, ..Refusal::from_fields(body.fields()) })
}

fn authenticate(
    wire: &mut Wire,
    host: &Host,
    parameters: &Parameters,
    deadline: &Deadline,
) -> Result<(), Failure> {
    let password = || {
        let password = parameters.password(host).map_err(Failure::Stopped)?;
        password.ok_or_else(|| {
            Failure::Stopped(Error::new(
                Status::Unavailable,
                format!(
                    "{host}: the server asks for a password, and the uri gives none for {} \
                     (password or passfile)",
                    parameters.user
                ),
            ))
        })
    };
    let must_bind = parameters.channel_binding == ChannelBinding::Require;
    let end_point = match parameters.channel_binding {
        ChannelBinding::Disable => None,
        _ => wire.stream().server_end_point(),
    };
    let unbound = || {
        Failure::Stopped(Error::new(
            Status::Unavailable,
            format!(
                "{host}: channel_binding=require needs TLS and a password by SCRAM that is bound to \
                 it, which the server does not offer"
            ),
        ))
    };
    let mut is_bound = false;
    let mut scram = None;
    loop {
        match wire.receive(deadline)? {
            Message::AuthenticationOk if must_bind && !is_bound => return Err(unbound()),
            Message::AuthenticationOk => return Ok(()),
            Message::ErrorResponse(body) => return Err(refused(&body)),
            Message::AuthenticationCleartextPassword | Message::AuthenticationMd5Password(_)
                if must_bind =>
            {
                return Err(unbound());
            }
            Message::AuthenticationCleartextPassword => {
                let password = password()?;
                frontend::password_message(password.reveal().as_bytes(), &mut wire.outgoing)
                    .map_err(|e| broken(&e))?;
                wire.send(deadline)?;
            }
            Message::AuthenticationMd5Password(body) => {
                let password = password()?;
                let hash =
                    md5_hash(parameters.user.as_bytes(), password.reveal().as_bytes(), body.salt());
                frontend::password_message(hash.as_bytes(), &mut wire.outgoing)
                    .map_err(|e| broken(&e))?;
                wire.send(deadline)?;
            }
            Message::AuthenticationSasl(body) => {
                let mechanisms: Vec<_> = body
                    .mechanisms()
                    .map(|name| Ok(name.to_owned()))
                    .collect()
                    .map_err(|e| broken(&e))?;
                let offers = |name: &str| mechanisms.iter().any(|own| own == name);
                let (mechanism, binding) = match &end_point {
                    Some(end_point) if offers(SCRAM_SHA_256_PLUS) => {
                        is_bound = true;
                        let binding = Binding::tls_server_end_point(end_point.clone());
                        (SCRAM_SHA_256_PLUS, binding)
                    }
                    _ if must_bind => return Err(unbound()),
                    _ if !offers(SCRAM_SHA_256) => return Err(unsupported(host)),
                    // Tells the server that it could be bound, so that nobody can hide the offer.
                    Some(_) => (SCRAM_SHA_256, Binding::unrequested()),
                    None => (SCRAM_SHA_256, Binding::unsupported()),
                };
                let exchange = ScramSha256::new(password()?.reveal().as_bytes(), binding);
                frontend::sasl_initial_response(mechanism, exchange.message(), &mut wire.outgoing)
                    .map_err(|e| broken(&e))?;
                wire.send(deadline)?;
                scram = Some(exchange);
            }
            Message::AuthenticationSaslContinue(body) => {
                let exchange = scram.as_mut().ok_or_else(unexpected)?;
                exchange.update(body.data()).map_err(|e| broken(&e))?;
                frontend::sasl_response(exchange.message(), &mut wire.outgoing)
                    .map_err(|e| broken(&e))?;
                wire.send(deadline)?;
            }
            Message::AuthenticationSaslFinal(body) => {
                let exchange = scram.as_mut().ok_or_else(unexpected)?;
                exchange.finish(body.data()).map_err(|e| broken(&e))?;
            }
            _ => return Err(unsupported(host)),
        }
    }
}

fn unsupported(host: &Host) -> Failure {
    Failure::Stopped(Error::new(
        Status::Unavailable,
        format!(
            "{host}: the server asks for a kind of authentication that the library does not have \
             (it has passwords, by SCRAM, MD5 or as they are, and certificates)"
        ),
    ))
}
