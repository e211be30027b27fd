/// \file
/// SHA-256, as FIPS 180-4 defines it. Not for direct use.

#ifndef DCB_DETAIL_SHA256_HPP
#define DCB_DETAIL_SHA256_HPP

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace dcb::detail {

class sha256 {
  public:
    /// Returns the hash of the text in hexadecimal.
    [[nodiscard]] static std::string of(std::string_view text) {
        std::string padded(text);
        padded += '\x80';
        padded.append((120 - padded.size() % 64) % 64, '\0');
        const std::uint64_t bits = static_cast<std::uint64_t>(text.size()) * 8;
        for (int shift = 56; shift >= 0; shift -= 8) {
            padded += static_cast<char>(bits >> shift & 0xFF);
        }
        sha256 hash;
        for (std::size_t at = 0; at < padded.size(); at += 64) {
            hash.add(padded.data() + at);
        }
        return hash.hexadecimal();
    }

  private:
    using word = std::uint32_t;

    static constexpr std::array<word, 64> constants{
        0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4,
        0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe,
        0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f,
        0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7,
        0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc,
        0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b,
        0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116,
        0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
        0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7,
        0xc67178f2};

    static constexpr word rotate(word x, int by) noexcept { return x >> by | x << (32 - by); }

    /// Adds a block of 64 bytes.
    void add(const char *block) noexcept {
        std::array<word, 64> schedule{};
        for (std::size_t i = 0; i < 16; ++i) {
            for (std::size_t j = 0; j < 4; ++j) {
                schedule[i] = schedule[i] << 8 | static_cast<unsigned char>(block[i * 4 + j]);
            }
        }
        for (std::size_t i = 16; i < 64; ++i) {
            const word a = schedule[i - 15];
            const word b = schedule[i - 2];
            schedule[i] = schedule[i - 16] + (rotate(a, 7) ^ rotate(a, 18) ^ a >> 3) +
                          schedule[i - 7] + (rotate(b, 17) ^ rotate(b, 19) ^ b >> 10);
        }
        std::array<word, 8> s = state_;
        for (std::size_t i = 0; i < 64; ++i) {
            const word choice = (s[4] & s[5]) ^ (~s[4] & s[6]);
            const word majority = (s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]);
            const word first = s[7] + (rotate(s[4], 6) ^ rotate(s[4], 11) ^ rotate(s[4], 25)) +
                               choice + constants[i] + schedule[i];
            const word second = (rotate(s[0], 2) ^ rotate(s[0], 13) ^ rotate(s[0], 22)) + majority;
            s = {first + second, s[0], s[1], s[2], s[3] + first, s[4], s[5], s[6]};
        }
        for (std::size_t i = 0; i < 8; ++i) {
            state_[i] += s[i];
        }
    }

    [[nodiscard]] std::string hexadecimal() const {
        std::string text;
        for (const word part : state_) {
            for (int shift = 28; shift >= 0; shift -= 4) {
                text += "0123456789abcdef"[part >> shift & 0x0F];
            }
        }
        return text;
    }

    std::array<word, 8> state_{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                               0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
};

} // namespace dcb::detail

#endif // DCB_DETAIL_SHA256_HPP
