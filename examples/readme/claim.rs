//! A user name belongs to whoever claims it first: a claim in Rust.
use dcb::domain::{AppendCondition, AppendRequest, EventBuilder, EventType, Query, QueryItem, Tag};
use dcb::store::options::Options;
use dcb::{CallOptions, Position, Result, Status};

fn main() -> Result<()> {
    let store = dcb::open("sqlite:names.db", &Options::default())?;
    let name = Tag::new("name:ada")?;
    let mut claim = EventBuilder::new(EventType::new("NameClaimed")?);
    claim.tag(name)?;
    claim.data(r#""in Rust""#)?;
    let mut claims = QueryItem::new();
    claims.and_tag(name)?;
    let unclaimed = AppendCondition::new(Query::of(vec![claims])?, Position::START);
    let request = AppendRequest::new(vec![claim.build()], vec![unclaimed])?;
    match store.append(request, &CallOptions::default()) {
        Ok(appended) => println!("ada is ours, by event {}", appended.last),
        Err(error) if error.status == Status::ConditionFailed => {
            println!("ada was claimed by event {}", error.position);
        }
        Err(error) => return Err(error),
    }
    Ok(())
}
