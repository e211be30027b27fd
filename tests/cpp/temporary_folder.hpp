// A folder that is removed when its owner is destroyed.

#ifndef DCB_TEST_TEMPORARY_FOLDER_HPP
#define DCB_TEST_TEMPORARY_FOLDER_HPP

#include <filesystem>
#include <stdlib.h>
#include <string>
#include <system_error>

class temporary_folder {
  public:
    temporary_folder() {
        std::string name = (std::filesystem::temp_directory_path() / "dcb-XXXXXX").string();
        if (mkdtemp(name.data()) == nullptr) {
            throw std::system_error(errno, std::generic_category(), "mkdtemp");
        }
        path_ = name;
    }
    temporary_folder(const temporary_folder &) = delete;
    temporary_folder &operator=(const temporary_folder &) = delete;
    ~temporary_folder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }

    const std::filesystem::path &path() const noexcept { return path_; }

  private:
    std::filesystem::path path_;
};

#endif // DCB_TEST_TEMPORARY_FOLDER_HPP
