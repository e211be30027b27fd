// The driver of @dcb-es/event-store-postgres: see drive.rs for what it reads and prints.
//
// The store is used as its README does: one PostgresEventStore on one Pool of pg, with its default
// locks. A query has to name types, so a query for an entity names the one type that its events
// have, which is the least that it can name. Callers are promises in one process of Node.
import readline from "node:readline"
import pg from "pg"
import { AppendConditionError, Query, SequencePosition, Tags } from "@dcb-es/event-store"
import { PostgresEventStore } from "@dcb-es/event-store-postgres"

const TYPES = Array.from({ length: 20 }, (_, number) => `CourseChanged${number}`)
const DATA = { x: "y".repeat(248) }
const BATCH = 4096
const POOL = 20

const open = () => {
    const pool = new pg.Pool({ connectionString: process.argv[2], max: POOL })
    // Of a connection that nobody uses; one in use fails its call.
    pool.on("error", () => {})
    return new PostgresEventStore({ pool })
}
const store = open()
await store.ensureInstalled()

const typeOf = (number) => TYPES[number % 20]
const entities = (total) => Math.max(1, Math.floor(total / 10))
const eventOf = (number, entity) => {
    const tags = [`unique=${number}`, `group=${number % 1000}`]
    if (entity !== undefined) tags.push(`entity=${entity}`)
    return { type: typeOf(number), tags: Tags.from(tags), data: DATA, metadata: {} }
}
const tagged = (type, tag) => Query.fromItems([{ types: [type], tags: Tags.from([tag]) }])

// Lets callers repeat an operation until the time is over.
async function run(callers, seconds, operation) {
    const latencies = []
    let units = 0
    const start = performance.now()
    const end = start + seconds * 1000
    const caller = async () => {
        do {
            const before = performance.now()
            // Not in one expression, which would take up the sum of before the wait.
            const done = await operation()
            units += done
            latencies.push(performance.now() - before)
        } while (performance.now() < end)
    }
    await Promise.all(Array.from({ length: callers }, caller))
    return sample(units, performance.now() - start, latencies)
}

function sample(units, time, latencies) {
    latencies.sort((one, other) => one - other)
    const at = (part) => latencies[Math.floor(latencies.length * part)] * 1000
    return `ok ${(units / time) * 1000} ${at(0.5)} ${at(0.99)}`
}

async function fill(from, to, total) {
    const latencies = []
    const start = performance.now()
    for (let next = from; next < to; next += BATCH) {
        const events = []
        for (let number = next; number < Math.min(next + BATCH, to); number++) {
            events.push(eventOf(number, number % entities(total)))
        }
        const before = performance.now()
        await store.append({ events })
        latencies.push(performance.now() - before)
    }
    return sample(to - from, performance.now() - start, latencies)
}

async function append(callers, count, seconds, first) {
    let next = first
    const operation = async () => {
        const number = next
        next += count
        const events = Array.from({ length: count }, (_, place) => eventOf(number + place))
        const unique = tagged(typeOf(number), `unique=${number}`)
        await store.append({ events, condition: { failIfEventsMatch: unique } })
        return count
    }
    await run(callers, seconds / 5, operation)
    return run(callers, seconds, operation)
}

// Reads an entity. Returns the number of its events, and the last position.
async function readEntity(entity) {
    let count = 0
    let last = SequencePosition.initial()
    for await (const { position } of store.read(tagged(typeOf(entity), `entity=${entity}`))) {
        count++
        last = position
    }
    return [count, last]
}

const pick = (total) => Math.floor(Math.random() * entities(total))

function read(callers, seconds, total) {
    return run(callers, seconds, async () => {
        const [count] = await readEntity(pick(total))
        if (count < 10) throw new Error(`an entity has ${count} events`)
        return 1
    })
}

async function scan(total) {
    const start = performance.now()
    let count = 0
    for await (const { event } of store.read(Query.all())) {
        if (event.data.x.length === 248) count++
    }
    if (count < total) throw new Error(`a scan has ${count} events`)
    const time = performance.now() - start
    return sample(count, time, [time])
}

function decide(callers, seconds, total, first) {
    let next = first / 20
    return run(callers, seconds, async () => {
        const entity = pick(total)
        for (;;) {
            const [, after] = await readEntity(entity)
            // Of the type that the entity's other events have.
            const number = Math.ceil(next++) * 20 + (entity % 20)
            const failIfEventsMatch = tagged(typeOf(entity), `entity=${entity}`)
            try {
                await store.append({
                    events: eventOf(number, entity),
                    condition: { failIfEventsMatch, after },
                })
                return 1
            } catch (error) {
                if (!(error instanceof AppendConditionError)) throw error
            }
        }
    })
}

async function notify(seconds, first) {
    const subscriber = open()
    const abort = new AbortController()
    const head = await store.append({ events: eventOf(first) })
    const stream = subscriber.subscribe(Query.all(), { after: head, signal: abort.signal })
    const latencies = []
    const start = performance.now()
    let number = first
    do {
        const received = stream.next()
        await new Promise((resolve) => setTimeout(resolve, 2))
        const before = performance.now()
        const [appended] = await Promise.all([store.append({ events: eventOf(++number) }), received])
        const { value } = await received
        if (!value.position.equals(appended)) throw new Error("the subscriber has another event")
        latencies.push(performance.now() - before)
    } while (performance.now() < start + seconds * 1000)
    abort.abort()
    await stream.return()
    return sample(latencies.length, performance.now() - start, latencies)
}

const workloads = { fill, append, read, scan, decide, notify }
console.log("ready")
const lines = readline.createInterface({ input: process.stdin })
for await (const line of lines) {
    const [name, ...words] = line.trim().split(/\s+/)
    try {
        console.log(await workloads[name](...words.map(Number)))
    } catch (error) {
        console.log(`failed ${String(error.message).replaceAll("\n", " ")}`)
    }
}
process.exit(0)
