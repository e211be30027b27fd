//! The start of a connection: TLS, the password, and the settings of the session.

use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{
    ChannelBinding as Binding, SCRAM_SHA_256, ScramSha256,
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

/// Opens a session on a host.
pub fn open(host: &Host, parameters: &Parameters, deadline: &Deadline) -> Result<Wire, Failure> {
    let deadline = match parameters.connect_timeout {
        Some(limit) => &deadline.at_most(limit),
        None => deadline,
    };
    if parameters.ssl_mode(host) >= SslMode::Require {
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
    let stream = Stream::Plain(socket::connect(host, parameters, deadline)?);
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
    loop {
        match wire.receive(deadline)? {
            Message::BackendKeyData(_) => {}
            Message::ReadyForQuery(_) => return Ok(wire),
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
    let mut scram = None;
    loop {
        let message = wire.receive(deadline)?;
        if must_bind && !matches!(message, Message::ErrorResponse(_)) {
            return Err(Failure::Stopped(Error::new(
                Status::Unavailable,
                format!("{host}: channel_binding=require needs TLS and a password by SCRAM"),
            )));
        }
        match message {
            Message::AuthenticationOk => return Ok(()),
            Message::ErrorResponse(body) => return Err(refused(&body)),
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
                let offers_scram = body
                    .mechanisms()
                    .any(|mechanism| Ok(mechanism == SCRAM_SHA_256))
                    .map_err(|e| broken(&e))?;
                if !offers_scram {
                    return Err(unsupported(host));
                }
                let exchange =
                    ScramSha256::new(password()?.reveal().as_bytes(), Binding::unsupported());
                frontend::sasl_initial_response(
                    SCRAM_SHA_256,
                    exchange.message(),
                    &mut wire.outgoing,
                )
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
