/* Course subscriptions, decided by many threads of many processes at once, in C.
 *
 * The problem: a course has a number of seats, a student takes at most five courses, and nobody
 * takes a course twice. Each rule spans events of a course or events of a student, and a
 * subscription is an event of both; so no lock on "the course" or "the student" is enough.
 *
 * The answer: a subscription is decided on what a query found, and appended on the condition that
 * nothing new matches that query. If something does, somebody was faster: read again, decide again.
 *
 * demo.cpp and go/demo.go make the same decisions on the same file; `run` lets all three loose on
 * it.
 */
#define _POSIX_C_SOURCE 200809L

#include <dcb.h>

#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { COURSES = 8, SEATS = 12, STUDENTS = 40, COURSES_PER_STUDENT = 5 };
enum { THREADS = 4, ATTEMPTS = 60 };

enum outcome { SUBSCRIBED, COURSE_FULL, FIVE_COURSES, SUBSCRIBED_ALREADY, OUTCOMES };

/* --- The decision -------------------------------------------------------------------------- */

static void check(dcb_status status, const dcb_error *error) {
    if (status != DCB_OK) {
        fprintf(stderr, "demo: %s: %s\n", dcb_status_name(status), error->message);
        exit(1);
    }
}

static bool equals(dcb_str text, const char *expected) {
    return text.len == strlen(expected) && memcmp(text.data, expected, text.len) == 0;
}

static bool has_tag(const dcb_event *event, const char *tag) {
    for (size_t i = 0; i < event->tags_len; i++)
        if (equals(event->tags[i], tag))
            return true;
    return false;
}

/* The seats in the data of a CourseDefined event, {"seats":12}. */
static int seats_of(const dcb_event *event) {
    char data[64];
    int seats = 0;
    snprintf(data, sizeof data, "%.*s", (int)event->data.len, event->data.data);
    sscanf(data, "{\"seats\":%d}", &seats);
    return seats;
}

/* What has to be known to decide whether a student may take a course. */
struct model {
    int seats;
    int seats_taken;
    int courses_of_student;
    bool subscribed_already;
};

/* Reads what `query` matches, and gives the position up to which that is all there is. */
static int64_t read_model(dcb_store *store, const char *query, const char *course,
                          const char *student, struct model *model) {
    char request[512];
    int len = snprintf(request, sizeof request, "{\"query\":%s}", query);
    dcb_cursor *cursor;
    dcb_error error;
    check(dcb_cursor_open(store, request, (size_t)len, NULL, &cursor, &error), &error);

    *model = (struct model){0};
    for (;;) {
        const dcb_event *events;
        size_t count;
        check(dcb_cursor_next(cursor, 64, NULL, &events, &count, &error), &error);
        if (count == 0)
            break;
        for (const dcb_event *event = events; event < events + count; event++) {
            if (equals(event->type, "CourseDefined")) {
                model->seats = seats_of(event);
                continue;
            }
            bool of_course = has_tag(event, course);
            bool of_student = has_tag(event, student);
            model->seats_taken += of_course;
            model->courses_of_student += of_student;
            model->subscribed_already |= of_course && of_student;
        }
    }
    int64_t position = dcb_cursor_position(cursor);
    dcb_cursor_close(cursor);
    return position;
}

/* Subscribes a student to a course, both given as tags, if the rules allow it. */
static enum outcome subscribe(dcb_store *store, const char *course, const char *student,
                              long *conflicts) {
    char query[256];
    snprintf(query, sizeof query,
             "{\"items\":["
             "{\"types\":[\"CourseDefined\",\"StudentSubscribed\"],\"tags\":[\"%s\"]},"
             "{\"types\":[\"StudentSubscribed\"],\"tags\":[\"%s\"]}]}",
             course, student);
    for (;;) {
        struct model model;
        int64_t position = read_model(store, query, course, student, &model);
        if (model.subscribed_already)
            return SUBSCRIBED_ALREADY;
        if (model.courses_of_student >= COURSES_PER_STUDENT)
            return FIVE_COURSES;
        if (model.seats_taken >= model.seats)
            return COURSE_FULL;

        char request[1024];
        int len = snprintf(request, sizeof request,
                           "{\"events\":[{\"type\":\"StudentSubscribed\",\"tags\":[\"%s\",\"%s\"],"
                           "\"data\":{\"by\":\"C\"}}],"
                           "\"condition\":{\"failIfEventsMatch\":%s,\"after\":%" PRId64 "}}",
                           course, student, query, position);
        int64_t last;
        dcb_error error;
        dcb_status status = dcb_append(store, request, (size_t)len, NULL, &last, &error);
        if (status == DCB_OK)
            return SUBSCRIBED;
        if (status != DCB_CONDITION_FAILED)
            check(status, &error);
        ++*conflicts;
    }
}

/* Defines a course, given as a tag, unless it is defined. */
static void define(dcb_store *store, const char *course, int seats) {
    char request[512];
    int len = snprintf(request, sizeof request,
                       "{\"events\":[{\"type\":\"CourseDefined\",\"tags\":[\"%s\"],"
                       "\"data\":{\"seats\":%d}}],"
                       "\"condition\":{\"failIfEventsMatch\":"
                       "{\"items\":[{\"types\":[\"CourseDefined\"],\"tags\":[\"%s\"]}]}}}",
                       course, seats, course);
    int64_t last;
    dcb_error error;
    dcb_status status = dcb_append(store, request, (size_t)len, NULL, &last, &error);
    if (status != DCB_CONDITION_FAILED)
        check(status, &error);
}

/* --- The fight for the seats --------------------------------------------------------------- */

struct applicant {
    dcb_store *store;
    uint64_t seed;
    long outcomes[OUTCOMES];
    long conflicts;
};

static uint64_t next_random(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

static void *apply(void *argument) {
    struct applicant *self = argument;
    for (int i = 0; i < ATTEMPTS; i++) {
        char course[32], student[32];
        snprintf(course, sizeof course, "course:c%d",
                 (int)(next_random(&self->seed) % COURSES) + 1);
        snprintf(student, sizeof student, "student:s%d",
                 (int)(next_random(&self->seed) % STUDENTS) + 1);
        self->outcomes[subscribe(self->store, course, student, &self->conflicts)]++;
        struct timespec pause = {.tv_nsec = (long)(next_random(&self->seed) % 2000000)};
        nanosleep(&pause, NULL);
    }
    return NULL;
}

static void fight(dcb_store *store, int process) {
    /* The head rises above the courses when the subscriptions are opened. */
    int64_t head;
    dcb_error error;
    check(dcb_wait(store, COURSES, NULL, &head, &error), &error);

    struct applicant applicants[THREADS] = {0};
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        applicants[i] = (struct applicant){.store = store, .seed = (uint64_t)(process * 100 + i)};
        pthread_create(&threads[i], NULL, apply, &applicants[i]);
    }
    long outcomes[OUTCOMES] = {0}, conflicts = 0;
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        for (int k = 0; k < OUTCOMES; k++)
            outcomes[k] += applicants[i].outcomes[k];
        conflicts += applicants[i].conflicts;
    }
    printf("  %-4s process %d  %10ld  %11ld  %12ld  %7ld  %13ld\n", "C", process,
           outcomes[SUBSCRIBED], outcomes[COURSE_FULL], outcomes[FIVE_COURSES],
           outcomes[SUBSCRIBED_ALREADY], conflicts);
}

/* --- The tally ----------------------------------------------------------------------------- */

/* Counts who took what from all events, prints it, and tells whether every rule was kept. */
static bool tally(dcb_store *store) {
    static const char *const languages[] = {"{\"by\":\"C\"}", "{\"by\":\"C++\"}",
                                            "{\"by\":\"Go\"}"};
    int seats[COURSES] = {0}, taken[COURSES] = {0}, by[COURSES][3] = {0};
    int courses_of[STUDENTS] = {0}, twice = 0;
    bool subscribed[STUDENTS][COURSES] = {0};

    dcb_cursor *cursor;
    dcb_error error;
    check(dcb_cursor_open(store, NULL, 0, NULL, &cursor, &error), &error);
    for (;;) {
        const dcb_event *events;
        size_t count;
        check(dcb_cursor_next(cursor, 256, NULL, &events, &count, &error), &error);
        if (count == 0)
            break;
        for (const dcb_event *event = events; event < events + count; event++) {
            int course = -1, student = -1;
            for (size_t i = 0; i < event->tags_len; i++) {
                char tag[32];
                snprintf(tag, sizeof tag, "%.*s", (int)event->tags[i].len, event->tags[i].data);
                sscanf(tag, "course:c%d", &course);
                sscanf(tag, "student:s%d", &student);
            }
            if (equals(event->type, "CourseDefined")) {
                seats[course - 1] = seats_of(event);
                continue;
            }
            if (!equals(event->type, "StudentSubscribed"))
                continue;
            taken[course - 1]++;
            courses_of[student - 1]++;
            twice += subscribed[student - 1][course - 1];
            subscribed[student - 1][course - 1] = true;
            for (int k = 0; k < 3; k++)
                by[course - 1][k] += equals(event->data, languages[k]);
        }
    }
    dcb_cursor_close(cursor);

    int overfull = 0, overworked = 0, sum = 0, all = 0;
    printf("  course  seats  taken    by C  by C++  by Go\n");
    for (int c = 0; c < COURSES; c++) {
        printf("  c%-5d  %5d  %5d   %5d  %6d  %5d  ", c + 1, seats[c], taken[c], by[c][0], by[c][1],
               by[c][2]);
        for (int i = 0; i < taken[c]; i++)
            printf(i < seats[c] ? "#" : "!");
        for (int i = taken[c]; i < seats[c]; i++)
            printf(".");
        printf("\n");
        overfull += taken[c] > seats[c];
        sum += taken[c];
        all += seats[c];
    }
    for (int s = 0; s < STUDENTS; s++)
        overworked += courses_of[s] > COURSES_PER_STUDENT;
    printf("\n  %d of %d seats are taken\n"
           "  %d courses with more students than seats\n"
           "  %d students with more than %d courses\n"
           "  %d subscribed to a course twice\n",
           sum, all, overfull, overworked, COURSES_PER_STUDENT, twice);
    return sum > 0 && overfull == 0 && overworked == 0 && twice == 0;
}

/* --- Timings ------------------------------------------------------------------------------- */

struct clerk {
    dcb_store *store;
    int number;
    double seconds;
    long decisions;
};

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* Fills one course of twelve seats after the other with new students. */
static void *fill_courses(void *argument) {
    struct clerk *self = argument;
    double end = now() + self->seconds;
    long conflicts = 0;
    for (int n = 0; now() < end; n++) {
        char course[64], student[64];
        snprintf(course, sizeof course, "course:C-%d-%d", self->number, n);
        define(self->store, course, SEATS);
        for (int i = 0; i < SEATS; i++) {
            snprintf(student, sizeof student, "student:C-%d-%d-%d", self->number, n, i);
            subscribe(self->store, course, student, &conflicts);
            self->decisions++;
        }
    }
    return NULL;
}

static void measure(dcb_store *store, int thread_count, double seconds) {
    struct clerk *clerks = calloc((size_t)thread_count, sizeof *clerks);
    pthread_t *threads = calloc((size_t)thread_count, sizeof *threads);
    if (clerks == NULL || threads == NULL)
        exit(1);
    double start = now();
    for (int i = 0; i < thread_count; i++) {
        clerks[i] = (struct clerk){.store = store, .number = i, .seconds = seconds};
        pthread_create(&threads[i], NULL, fill_courses, &clerks[i]);
    }
    long decisions = 0;
    for (int i = 0; i < thread_count; i++) {
        pthread_join(threads[i], NULL);
        decisions += clerks[i].decisions;
    }
    printf("%.0f\n", (double)decisions / (now() - start));
    free(clerks);
    free(threads);
}

int main(int argc, char **argv) {
    const char *job = argc > 2 ? argv[2] : "";
    dcb_store *store;
    dcb_error error;
    if (argc < 3) {
        fprintf(stderr,
                "usage: %s URI define | open | fight PROCESS | tally | measure THREADS SECONDS\n",
                argv[0]);
        return 2;
    }
    check(dcb_open(argv[1], NULL, &store, &error), &error);

    bool good = true;
    if (strcmp(job, "define") == 0) {
        for (int c = 1; c <= COURSES; c++) {
            char course[32];
            snprintf(course, sizeof course, "course:c%d", c);
            define(store, course, SEATS);
        }
    } else if (strcmp(job, "open") == 0) {
        static const char request[] = "{\"events\":[{\"type\":\"SubscriptionsOpened\"}]}";
        int64_t last;
        check(dcb_append(store, request, sizeof request - 1, NULL, &last, &error), &error);
    } else if (strcmp(job, "fight") == 0 && argc == 4) {
        fight(store, atoi(argv[3]));
    } else if (strcmp(job, "tally") == 0) {
        good = tally(store);
    } else if (strcmp(job, "measure") == 0 && argc == 5) {
        measure(store, atoi(argv[3]), atof(argv[4]));
    } else {
        fprintf(stderr, "%s: no job for these arguments\n", argv[0]);
        good = false;
    }
    dcb_close(store);
    return good ? 0 : 1;
}
