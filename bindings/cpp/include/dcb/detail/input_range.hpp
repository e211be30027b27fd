/// \file
/// The iterator of ranges that can be iterated over once. Not for direct use.

#ifndef DCB_DETAIL_INPUT_RANGE_HPP
#define DCB_DETAIL_INPUT_RANGE_HPP

#include <dcb/event.hpp>

#include <cstddef>
#include <iterator>

namespace dcb::detail {

/// An iterator to the current event of a `Source`, which has `bool advance()` and `current()`.
template <class Source> class input_iterator {
  public:
    using iterator_category = std::input_iterator_tag;
    using value_type = event_view;
    using difference_type = std::ptrdiff_t;
    using pointer = const event_view *;
    using reference = const event_view &;

    /// Makes the end iterator.
    input_iterator() = default;

    /// Advances the source. The result is the end iterator if the source has no more events.
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
