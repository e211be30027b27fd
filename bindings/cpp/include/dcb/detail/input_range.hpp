/// \file
/// The iterator of ranges that are read once. Not for direct use.

#ifndef DCB_DETAIL_INPUT_RANGE_HPP
#define DCB_DETAIL_INPUT_RANGE_HPP

#include <dcb/event.hpp>

#include <cstddef>
#include <iterator>

namespace dcb::detail {

/// Stands on the current event of a `Source`, which has `bool advance()` and `current()`.
template <class Source> class input_iterator {
  public:
    using iterator_category = std::input_iterator_tag;
    using value_type = event_view;
    using difference_type = std::ptrdiff_t;
    using pointer = const event_view *;
    using reference = const event_view &;

    /// The end.
    input_iterator() = default;

    /// Stands on the source's next event, or is the end.
    explicit input_iterator(Source &source) : source_(source.advance() ? &source : nullptr) {}

    reference operator*() const noexcept { return source_->current(); }
    pointer operator->() const noexcept { return &source_->current(); }

    input_iterator &operator++() {
        if (!source_->advance()) {
            source_ = nullptr;
        }
        return *this;
    }
    void operator++(int) { ++*this; }

    friend bool operator==(const input_iterator &a, const input_iterator &b) noexcept {
        return a.source_ == b.source_;
    }
    friend bool operator!=(const input_iterator &a, const input_iterator &b) noexcept {
        return !(a == b);
    }

  private:
    Source *source_ = nullptr;
};

} // namespace dcb::detail

#endif // DCB_DETAIL_INPUT_RANGE_HPP
