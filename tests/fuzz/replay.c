/*
 * replay.c - runs a fuzz target over files, without libFuzzer: replay FOLDER...
 *
 * Fails if there was no file: a corpus that was lost must be noticed.
 */
#include "fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_SIZE (2u << 20)

static int
replay_file(const char *path)
{
    static uint8_t bytes[MAX_SIZE];
    FILE *file = fopen(path, "rb");

    if (file == NULL) {
        fprintf(stderr, "cannot read %s\n", path);
        return -1;
    }
    size_t size = fread(bytes, 1, sizeof(bytes), file);
    (void)fclose(file);
    printf("%s\n", path);
    fflush(stdout);
    return LLVMFuzzerTestOneInput(bytes, size);
}

static int
replay_folder(const char *folder)
{
    struct dirent *entry;
    char path[1024];
    int files = 0;
    DIR *d = opendir(folder);

    if (d == NULL) {
        fprintf(stderr, "cannot open %s\n", folder);
        return -1;
    }
    while ((entry = readdir(d)) != NULL) {
        (void)snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
        if (entry->d_name[0] == '.' || strstr(entry->d_name, ".json") != NULL) {
            continue;
        }
        if (replay_file(path) < 0) {
            files = -1;
            break;
        }
        files++;
    }
    (void)closedir(d);
    return files;
}

int
main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (replay_folder(argv[i]) <= 0) {
            fprintf(stderr, "%s: no files, or one failed\n", argv[i]);
            return 1;
        }
    }
    return argc < 2;
}
