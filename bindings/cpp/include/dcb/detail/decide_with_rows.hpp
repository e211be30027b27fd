/// \file
/// Decisions that are appended in one transaction with the program's rows. Not for direct use.

#ifndef DCB_DETAIL_DECIDE_WITH_ROWS_HPP
#define DCB_DETAIL_DECIDE_WITH_ROWS_HPP

#include <dcb/decider.hpp>

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

namespace dcb::detail {

/// Makes a decision whose events are appended in one transaction with the program's rows.
/// `transact` is called with a function that takes the transaction, and runs it in one.
template <class Value, class State, class Decide, class Rows, class Request, class Transact>
decision<Value> decide_with_rows(const store &in, const projection<State> &on, const Decide &decide,
                                 const Rows &rows, Request request, const call_options &options,
                                 const retry_policy &retry, const Transact &transact) {
    check_function(on.evolve, "projection::evolve");
    check_function(decide, "decide");
    check_function(rows, "rows");
    const auto append = [&](const std::vector<event> &events,
                            const std::vector<append_condition> &conditions, int attempt) {
        std::optional<append_result> result;
        transact([&](auto &transaction) {
            result = transaction.try_append(events, conditions, options);
            if (!*result || result->is_repeated()) {
                return;
            }
            decision<> made;
            made.last = result->position();
            made.first = made.last - static_cast<std::int64_t>(events.size()) + 1;
            made.attempts = attempt;
            rows(transaction, std::as_const(made));
        });
        return *result;
    };
    return make_decision<Value>(in, on, decide, request, options, retry, append);
}

} // namespace dcb::detail

#endif // DCB_DETAIL_DECIDE_WITH_ROWS_HPP
