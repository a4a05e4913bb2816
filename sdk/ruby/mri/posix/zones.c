/*
 * Local time by the variable TZ: files of /usr/share/zoneinfo (RFC 9636), and the rules of POSIX. wasi-libc's
 * functions know UTC alone; posix.h directs their callers here.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "posix.h"

#define ZONES "/usr/share/zoneinfo/"
/* Bytes of the largest file that is read; those of tzdata have 4 KB at most. */
#define MAX_FILE (1 << 16)
#define MAX_NAME 512
#define DAY 86400

/* A kind of time: an offset from UTC in seconds, its name, and whether it is daylight saving time. */
struct kind {
    int32_t offset;
    int daylight;
    const char *name;
};

/* The day and second at which a rule changes the time each year. */
struct change {
    char form; /* 'M' month.week.day, 'J' Julian day without 29 February, 'D' day of the year from 0 */
    int month, week, day;
    int32_t second;
};

struct rule {
    struct kind standard, saving;
    int saves;
    struct change start, end;
};

static struct {
    int known;
    char text[MAX_NAME]; /* the value of TZ */
    unsigned char *file;
    size_t size;
    const unsigned char *times, *indices, *types, *names;
    uint32_t time_count, type_count, name_count;
    int has_rule;
    struct rule rule;
} zone;

static const char utc[] = "UTC";

/* Returns a name that stays, since `struct tm` points to it. There are as many as zones have different names. */
static const char *
stored(const char *name, size_t length)
{
    struct entry {
        struct entry *next;
        char name[];
    };
    static struct entry *all;
    struct entry *entry;

    for (entry = all; entry; entry = entry->next) {
        if (strlen(entry->name) == length && memcmp(entry->name, name, length) == 0) return entry->name;
    }
    entry = malloc(sizeof *entry + length + 1);
    if (!entry) return utc;
    memcpy(entry->name, name, length);
    entry->name[length] = 0;
    entry->next = all;
    all = entry;
    return entry->name;
}

/* -- rules of POSIX ------------------------------------------------------------------------------------------------ */

static int
is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static int
is_letter(char c)
{
    return (c | 32) >= 'a' && (c | 32) <= 'z';
}

static int
read_number(const char **at, int most, int *number)
{
    const char *p = *at;

    if (!is_digit(*p)) return 0;
    for (*number = 0; is_digit(*p); p++) {
        *number = *number * 10 + (*p - '0');
        if (*number > most) return 0;
    }
    *at = p;
    return 1;
}

/* [+-]hh[:mm[:ss]] */
static int
read_time(const char **at, int32_t *seconds)
{
    int sign = 1, hours, minutes = 0, rest = 0;

    if (**at == '+' || **at == '-') sign = *(*at)++ == '-' ? -1 : 1;
    if (!read_number(at, 167, &hours)) return 0;
    if (**at == ':') {
        ++*at;
        if (!read_number(at, 59, &minutes)) return 0;
        if (**at == ':') {
            ++*at;
            if (!read_number(at, 59, &rest)) return 0;
        }
    }
    *seconds = sign * (hours * 3600 + minutes * 60 + rest);
    return 1;
}

static int
read_name(const char **at, const char **name)
{
    const char *start = *at, *p = start;

    if (*p == '<') {
        start = ++p;
        while (*p && *p != '>') p++;
        if (*p != '>') return 0;
        *name = stored(start, p - start);
        *at = p + 1;
        return 1;
    }
    while (is_letter(*p)) p++;
    if (p - start < 3) return 0;
    *name = stored(start, p - start);
    *at = p;
    return 1;
}

static int
read_change(const char **at, struct change *change)
{
    int valid;

    change->second = 7200;
    if (**at == 'M') {
        ++*at;
        change->form = 'M';
        valid = read_number(at, 12, &change->month) && change->month >= 1 && *(*at)++ == '.' &&
                read_number(at, 5, &change->week) && change->week >= 1 && *(*at)++ == '.' &&
                read_number(at, 6, &change->day);
    }
    else if (**at == 'J') {
        ++*at;
        change->form = 'J';
        valid = read_number(at, 365, &change->day) && change->day >= 1;
    }
    else {
        change->form = 'D';
        valid = read_number(at, 365, &change->day);
    }
    if (!valid) return 0;
    if (**at == '/') {
        ++*at;
        return read_time(at, &change->second);
    }
    return 1;
}

static int
read_rule(const char *at, struct rule *rule)
{
    static const struct change start = { 'M', 3, 2, 0, 7200 }, end = { 'M', 11, 1, 0, 7200 };
    int32_t west;

    memset(rule, 0, sizeof *rule);
    if (!read_name(&at, &rule->standard.name) || !read_time(&at, &west)) return 0;
    rule->standard.offset = -west;
    if (!*at) return 1;
    if (!read_name(&at, &rule->saving.name)) return 0;
    rule->saves = rule->saving.daylight = 1;
    rule->saving.offset = rule->standard.offset + 3600;
    if (*at && *at != ',') {
        if (!read_time(&at, &west)) return 0;
        rule->saving.offset = -west;
    }
    rule->start = start;
    rule->end = end;
    if (!*at) return 1;
    return *at++ == ',' && read_change(&at, &rule->start) && *at++ == ',' && read_change(&at, &rule->end) && !*at;
}

/* Returns the days from 1970 to the first day of a year. */
static int64_t
days_to_year(int64_t year)
{
    int64_t before = year - 1;
    int64_t leaps = (before >= 0 ? before / 4 - before / 100 + before / 400
                                 : -((3 - before) / 4 - (99 - before) / 100 + (399 - before) / 400));
    return 365 * (year - 1970) + leaps - 477;
}

static int
is_leap(int64_t year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

/* Returns the year of a second since 1970. */
static int64_t
year_of(int64_t seconds)
{
    int64_t days = seconds / DAY - (seconds % DAY < 0);
    int64_t year = 1970 + days / 366;

    while (days_to_year(year + 1) <= days) year++;
    while (days_to_year(year) > days) year--;
    return year;
}

/* Returns the second since 1970, in local time, at which a rule changes the time in a year. */
static int64_t
second_of(const struct change *change, int64_t year)
{
    static const int month_days[] = { 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365 };
    int leap = is_leap(year);
    int64_t first = days_to_year(year), day;

    switch (change->form) {
      case 'J':
        day = change->day - 1 + (leap && change->day >= 60);
        break;
      case 'D':
        day = change->day;
        break;
      default: {
        int month = change->month;
        int64_t start = month_days[month - 1] + (leap && month > 2);
        int length = month_days[month] - month_days[month - 1] + (leap && month == 2);
        /* 1970 began on a Thursday, day 4 of the week. */
        int weekday = (int)(((first + start + 4) % 7 + 7) % 7);
        int64_t offset = (change->day - weekday + 7) % 7 + 7 * (change->week - 1);
        while (offset >= length) offset -= 7;
        day = start + offset;
      }
    }
    return (first + day) * DAY + change->second;
}

static struct kind
kind_by_rule(const struct rule *rule, int64_t seconds)
{
    int64_t year = year_of(seconds + rule->standard.offset);

    /* As in the C library of Linux, a rule saves no daylight before 1970. */
    if (!rule->saves || year < 1970) return rule->standard;
    int64_t start = second_of(&rule->start, year) - rule->standard.offset;
    int64_t end = second_of(&rule->end, year) - rule->saving.offset;
    int saves = start < end ? seconds >= start && seconds < end : seconds >= start || seconds < end;
    return saves ? rule->saving : rule->standard;
}

/* -- files --------------------------------------------------------------------------------------------------------- */

static uint32_t
word(const unsigned char *at)
{
    return (uint32_t)at[0] << 24 | at[1] << 16 | at[2] << 8 | at[3];
}

static int64_t
time_at(uint32_t index)
{
    const unsigned char *at = zone.times + 8 * (size_t)index;
    return (int64_t)((uint64_t)word(at) << 32 | word(at + 4));
}

static struct kind
kind_at(uint32_t index)
{
    const unsigned char *type = zone.types + 6 * (size_t)index;
    const char *name = (const char *)zone.names + type[5];
    struct kind kind = { (int32_t)word(type), type[4], stored(name, strlen(name)) };
    return kind;
}

/* Finds the parts of a file in the form of version 2 or later. Returns 0 if it is none, or damaged. */
static int
index_file(void)
{
    const unsigned char *at = zone.file, *end = zone.file + zone.size;
    char footer[MAX_NAME];

    for (int part = 0; part < 2; part++) {
        if (end - at < 44 || memcmp(at, "TZif", 4) || at[4] < '2') return 0;
        uint64_t utc_count = word(at + 20), standard_count = word(at + 24), leaps = word(at + 28);
        uint64_t times = word(at + 32), types = word(at + 36), names = word(at + 40);
        uint64_t width = part == 0 ? 4 : 8;
        uint64_t length = times * (width + 1) + types * 6 + names + leaps * (width + 4) + standard_count + utc_count;
        at += 44;
        if (length > (uint64_t)(end - at)) return 0;
        if (part == 1) {
            if (types == 0 || names == 0) return 0;
            zone.times = at;
            zone.indices = zone.times + times * 8;
            zone.types = zone.indices + times;
            zone.names = zone.types + types * 6;
            zone.time_count = times;
            zone.type_count = types;
            zone.name_count = names;
        }
        at += length;
    }
    if (zone.names[zone.name_count - 1]) return 0;
    for (uint32_t i = 0; i < zone.time_count; i++) {
        if (zone.indices[i] >= zone.type_count) return 0;
    }
    for (uint32_t i = 0; i < zone.type_count; i++) {
        if (zone.types[6 * i + 5] >= zone.name_count) return 0;
    }
    const unsigned char *newline = end - at > 1 && *at == '\n' ? memchr(at + 1, '\n', end - at - 1) : NULL;
    if (newline && (size_t)(newline - at) < sizeof footer) {
        memcpy(footer, at + 1, newline - at - 1);
        footer[newline - at - 1] = 0;
        zone.has_rule = read_rule(footer, &zone.rule);
    }
    return 1;
}

static int
read_file(const char *path)
{
    struct stat stat;
    size_t have = 0;
    int fd = open(path, O_RDONLY);

    if (fd < 0) return 0;
    if (fstat(fd, &stat) == 0 && S_ISREG(stat.st_mode) && stat.st_size <= MAX_FILE &&
        (zone.file = malloc(stat.st_size + 1))) {
        ssize_t got;
        while (have < (size_t)stat.st_size && (got = read(fd, zone.file + have, stat.st_size - have)) > 0) have += got;
        zone.size = have;
    }
    close(fd);
    if (zone.file && index_file()) return 1;
    free(zone.file);
    zone.file = NULL;
    zone.has_rule = 0;
    return 0;
}

/* -- the zone ------------------------------------------------------------------------------------------------------ */

static void
load(const char *text)
{
    char path[sizeof ZONES + MAX_NAME];
    const char *name = *text == ':' ? text + 1 : text;

    free(zone.file);
    memset(&zone, 0, sizeof zone);
    zone.known = 1;
    if (strlen(text) >= MAX_NAME) text = name = "UTC0";
    strcpy(zone.text, text);
    if (*name == '/') {
        if (read_file(name)) return;
    }
    else if (*name && !strstr(name, "..")) {
        strcpy(path, ZONES);
        strcat(path, name);
        if (read_file(path)) return;
    }
    if (read_rule(name, &zone.rule)) {
        zone.has_rule = 1;
        return;
    }
    /* As the C library of Linux does, an unknown zone is UTC under the name that it begins with. */
    const char *end = name;
    while (is_letter(*end)) end++;
    zone.has_rule = 1;
    zone.rule.saves = 0;
    zone.rule.standard = (struct kind){ 0, 0, end - name >= 3 ? stored(name, end - name) : utc };
}

/* Reads the zone again if TZ has changed. */
void
tzset(void)
{
    const char *text = getenv("TZ");

    if (!text) text = ":/etc/localtime";
    if (!zone.known || strcmp(text, zone.text)) load(text);
}

static struct kind
kind_of(int64_t seconds)
{
    if (!zone.file) return kind_by_rule(&zone.rule, seconds);
    uint32_t low = 0, high = zone.time_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (time_at(middle) <= seconds) low = middle + 1;
        else high = middle;
    }
    if (low == 0) return kind_at(0);
    if (low == zone.time_count && zone.has_rule) return kind_by_rule(&zone.rule, seconds);
    return kind_at(zone.indices[low - 1]);
}

struct tm *
localtime_r(const time_t *seconds, struct tm *result)
{
    tzset();
    struct kind kind = kind_of(*seconds);
    time_t shifted;

    if (__builtin_add_overflow(*seconds, kind.offset, &shifted)) {
        errno = EOVERFLOW;
        return NULL;
    }
    if (!gmtime_r(&shifted, result)) return NULL;
    result->tm_isdst = kind.daylight;
    result->tm_gmtoff = kind.offset;
    result->tm_zone = kind.name;
    return result;
}

struct tm *
localtime(const time_t *seconds)
{
    static struct tm result;

    return localtime_r(seconds, &result);
}

/*
 * Where local time is skipped, the result is as if the earlier offset still held; where it comes twice, tm_isdst decides,
 * and a negative one chooses the first.
 */
time_t
mktime(struct tm *time)
{
    int daylight = time->tm_isdst;
    struct tm fields = *time;
    time_t local = timegm(&fields), result;

    tzset();
    struct kind before = kind_of(local - DAY), after = kind_of(local + DAY);
    time_t first = local - before.offset, second = local - after.offset;
    int first_valid = kind_of(first).offset == before.offset, second_valid = kind_of(second).offset == after.offset;
    if (first_valid && second_valid) result = daylight >= 0 && daylight != kind_of(first).daylight ? second : first;
    else result = second_valid ? second : first;
    if (!localtime_r(&result, time)) return -1;
    return result;
}
