"""The driver of Python's eventsourcing: see drive.rs for what it reads and prints.

The recorder is that of eventsourcing.dcb.postgres_tt, which its documentation says to use with
PostgreSQL, made by its factory with its defaults: a pool of 5 connections and up to 10 more. psycopg
is the one with the faster code in C. Callers are threads.
"""

import itertools
import math
import random
import sys
import threading
import time
from urllib.parse import unquote, urlsplit

from eventsourcing.dcb.api import DCBAppendCondition, DCBEvent, DCBQuery, DCBQueryItem
from eventsourcing.dcb.postgres_tt import PostgresTTDCBFactory
from eventsourcing.persistence import IntegrityError
from eventsourcing.utils import Environment

TYPES = [f"CourseChanged{number}" for number in range(20)]
DATA = b'{"x":"' + b"y" * 248 + b'"}'
BATCH = 4096


def open_recorder():
    uri = urlsplit(sys.argv[1])
    variables = {
        "POSTGRES_DBNAME": uri.path[1:],
        "POSTGRES_HOST": uri.hostname,
        "POSTGRES_PORT": str(uri.port),
        "POSTGRES_USER": unquote(uri.username),
        "POSTGRES_PASSWORD": unquote(uri.password),
        # Callers wait for a connection as long as they have to.
        "POSTGRES_CONNECT_TIMEOUT": "120",
    }
    return PostgresTTDCBFactory(Environment("dcb", variables)).dcb_recorder()


def entities(total):
    return max(1, total // 10)


def event_of(number, entity=None):
    tags = [f"unique:{number}", f"group:{number % 1000}"]
    if entity is not None:
        tags.append(f"entity:{entity}")
    return DCBEvent(type=TYPES[number % 20], data=DATA, tags=tags)


def tagged(tag):
    return DCBQuery(items=[DCBQueryItem(tags=[tag])])


def run(callers, seconds, operation):
    """Lets callers repeat an operation until the time is over."""
    results = []
    barrier = threading.Barrier(callers + 1)

    def caller():
        units, latencies = 0, []
        barrier.wait()
        end = time.perf_counter() + seconds
        try:
            while True:
                before = time.perf_counter()
                units += operation()
                now = time.perf_counter()
                latencies.append(now - before)
                if now >= end:
                    break
            results.append((units, latencies))
        except Exception as error:
            results.append(error)

    threads = [threading.Thread(target=caller) for _ in range(callers)]
    for thread in threads:
        thread.start()
    barrier.wait()
    start = time.perf_counter()
    for thread in threads:
        thread.join()
    elapsed = time.perf_counter() - start
    for result in results:
        if isinstance(result, Exception):
            raise result
    latencies = [latency for _, own in results for latency in own]
    return sample(sum(units for units, _ in results), elapsed, latencies)


def sample(units, elapsed, latencies):
    latencies.sort()

    def at(part):
        return latencies[math.floor(len(latencies) * part)] * 1e6

    return f"ok {units / elapsed} {at(0.5)} {at(0.99)}"


class Driver:
    def __init__(self):
        self.recorder = open_recorder()

    def fill(self, first, end, total):
        latencies, start = [], time.perf_counter()
        for number in range(first, end, BATCH):
            numbers = range(number, min(number + BATCH, end))
            events = [event_of(each, each % entities(total)) for each in numbers]
            before = time.perf_counter()
            self.recorder.append(events)
            latencies.append(time.perf_counter() - before)
        return sample(end - first, time.perf_counter() - start, latencies)

    def append(self, callers, count, seconds, first):
        numbers = itertools.count(first, count)

        def operation():
            number = next(numbers)
            events = [event_of(number + place) for place in range(count)]
            condition = DCBAppendCondition(fail_if_events_match=tagged(f"unique:{number}"))
            self.recorder.append(events, condition)
            return count

        run(callers, seconds / 5, operation)
        return run(callers, seconds, operation)

    def read(self, callers, seconds, total):
        def operation():
            tag = f"entity:{random.randrange(entities(total))}"
            count = sum(1 for _ in self.recorder.read(tagged(tag)))
            if count < 10:
                raise ValueError(f"an entity has {count} events")
            return 1

        return run(callers, seconds, operation)

    def scan(self, total):
        start = time.perf_counter()
        count = sum(1 for _ in self.recorder.read())
        elapsed = time.perf_counter() - start
        if count < total:
            raise ValueError(f"a scan has {count} events")
        return sample(count, elapsed, [elapsed])

    def decide(self, callers, seconds, total, first):
        numbers = itertools.count(first)

        def operation():
            entity = random.randrange(entities(total))
            query = tagged(f"entity:{entity}")
            while True:
                response = self.recorder.read(query)
                for _ in response:
                    pass
                condition = DCBAppendCondition(query, after=response.head)
                try:
                    self.recorder.append([event_of(next(numbers), entity)], condition)
                except IntegrityError:
                    continue
                return 1

        return run(callers, seconds, operation)

    def notify(self, seconds, first):
        head = self.recorder.append([event_of(first)])
        latencies, start, number = [], time.perf_counter(), first
        received, wanted = {}, threading.Condition()

        def subscribe(subscription):
            for event in subscription:
                with wanted:
                    received[event.position] = time.perf_counter()
                    wanted.notify()

        with open_recorder().subscribe(after=head) as subscription:
            threading.Thread(target=subscribe, args=[subscription], daemon=True).start()
            time.sleep(0.5)
            start = time.perf_counter()
            while not latencies or time.perf_counter() < start + seconds:
                time.sleep(0.002)
                number += 1
                before = time.perf_counter()
                position = self.recorder.append([event_of(number)])
                with wanted:
                    while position not in received:
                        wanted.wait()
                    latencies.append(received.pop(position) - before)
            elapsed = time.perf_counter() - start
        return sample(len(latencies), elapsed, latencies)


def parsed(word):
    return float(word) if "." in word else int(word)


driver = Driver()
print("ready", flush=True)
for line in sys.stdin:
    name, *words = line.split()
    try:
        print(getattr(driver, name)(*map(parsed, words)), flush=True)
    except Exception as error:
        print("failed", type(error).__name__, " ".join(str(error).split()), flush=True)
