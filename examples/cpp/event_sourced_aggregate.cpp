// An event-sourced aggregate.
//
// A program with aggregates and repositories can keep them. An aggregate consists of the events
// with one tag, and its version is the position up to which it was read. Two changes of the same
// course conflict, as they do on a stream. Changes of different courses do not.

#include <dcb.hpp>
#include <dcb/json.hpp>

#include <iostream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace {

class course {
  public:
    course(std::string id, std::string title) : id_(std::move(id)) {
        record(dcb::json_event("CourseDefined", {{"course", id_}},
                               nlohmann::json{{"title", std::move(title)}}));
    }

    void rename(const std::string &title) {
        if (title == title_) {
            throw std::logic_error("the course has this title already");
        }
        record(
            dcb::json_event("CourseRenamed", {{"course", id_}}, nlohmann::json{{"title", title}}));
    }

    const std::string &title() const { return title_; }

  private:
    friend class course_repository;
    explicit course(std::string id) : id_(std::move(id)) {}

    void record(dcb::event e) {
        title_ = nlohmann::json::parse(e.data()).at("title").get<std::string>();
        changes_.push_back(std::move(e));
    }

    std::string id_;
    std::string title_;
    std::int64_t version_ = 0;
    std::vector<dcb::event> changes_;
};

class course_repository {
  public:
    explicit course_repository(dcb::store &store) : store_(&store) {}

    course load(const std::string &id) const {
        course loaded(id);
        dcb::cursor events = store_->read(of(id));
        for (const dcb::event_view &e : events) {
            loaded.title_ = dcb::json_data(e).at("title").get<std::string>();
        }
        loaded.version_ = events.position();
        return loaded;
    }

    /// Throws dcb::condition_failed if somebody else has saved the course since it was loaded.
    void save(course &changed) {
        if (changed.changes_.empty()) {
            return;
        }
        changed.version_ = store_->append(changed.changes_, {of(changed.id_), changed.version_});
        changed.changes_.clear();
    }

  private:
    static dcb::query of(const std::string &id) {
        return dcb::of_type("CourseDefined", "CourseRenamed").tagged(dcb::tag("course", id));
    }

    dcb::store *store_;
};

} // namespace

int main(int argc, char **argv) {
    dcb::store store(argc > 1 ? argv[1] : "memory:");
    course_repository courses(store);

    course algebra("c1", "Algebra");
    courses.save(algebra);
    course botany("c2", "Botany");
    courses.save(botany);

    course mine = courses.load("c1");
    course theirs = courses.load("c1");
    mine.rename("Algebra I");
    courses.save(mine);
    botany.rename("Botany, with walks");
    courses.save(botany);
    theirs.rename("Linear algebra");
    try {
        courses.save(theirs);
    } catch (const dcb::condition_failed &) {
        std::cout << "somebody else has changed the course\n";
    }
    std::cout << courses.load("c1").title() << "; " << courses.load("c2").title() << '\n';
}
