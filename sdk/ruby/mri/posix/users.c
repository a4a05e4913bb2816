/*
 * The number of a dyno's process, and its users: the one that it runs as, and those in /etc/passwd and /etc/group of the
 * pack.
 */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "posix.h"

/* The same number is in host/src/os/tree.rs. */
#define USER 1000

/* The host chooses it for each dyno; dyno.c sets it. */
pid_t dyno_process_number = 1;

pid_t getpid(void) { return dyno_process_number; }
uid_t getuid(void) { return USER; }
uid_t geteuid(void) { return USER; }
gid_t getgid(void) { return USER; }
gid_t getegid(void) { return USER; }

int
getgroups(int count, gid_t *groups)
{
    if (count == 0) return 1;
    if (count < 0) {
        errno = EINVAL;
        return -1;
    }
    groups[0] = USER;
    return 1;
}

char *
getlogin(void)
{
    struct passwd *user = getpwuid(USER);
    return user ? user->pw_name : NULL;
}

/* Bytes of the longest line that is read. */
#define LINE 512
#define FIELDS 7

/* A file of lines with fields. */
struct database {
    const char *path;
    FILE *file;
    char line[LINE];
    char *fields[FIELDS];
};

static struct database users = { "/etc/passwd" }, groups = { "/etc/group" };

static void
finish(struct database *database)
{
    if (database->file) fclose(database->file);
    database->file = NULL;
}

/* Reads the next line with `count` fields; returns 0 at the end. */
static int
next(struct database *database, int count)
{
    if (!database->file) database->file = fopen(database->path, "r");
    while (database->file && fgets(database->line, LINE, database->file)) {
        char *rest = database->line;
        int found = 0;

        rest[strcspn(rest, "\n")] = 0;
        while (rest && found < count) {
            database->fields[found++] = rest;
            rest = strchr(rest, ':');
            if (rest) *rest++ = 0;
        }
        if (found == count) return 1;
    }
    return 0;
}

struct passwd *
getpwent(void)
{
    static struct passwd user;
    char **fields = users.fields;

    if (!next(&users, 7)) return NULL;
    user.pw_name = fields[0];
    user.pw_passwd = fields[1];
    user.pw_uid = strtoul(fields[2], NULL, 10);
    user.pw_gid = strtoul(fields[3], NULL, 10);
    user.pw_gecos = fields[4];
    user.pw_dir = fields[5];
    user.pw_shell = fields[6];
    return &user;
}

void setpwent(void) { finish(&users); }
void endpwent(void) { finish(&users); }

struct passwd *
getpwnam(const char *name)
{
    struct passwd *user;

    setpwent();
    while ((user = getpwent()) && strcmp(user->pw_name, name)) continue;
    endpwent();
    return user;
}

struct passwd *
getpwuid(uid_t number)
{
    struct passwd *user;

    setpwent();
    while ((user = getpwent()) && user->pw_uid != number) continue;
    endpwent();
    return user;
}

struct group *
getgrent(void)
{
    static char *members[16];
    static struct group group;
    int count = 0;

    if (!next(&groups, 4)) return NULL;
    group.gr_name = groups.fields[0];
    group.gr_passwd = groups.fields[1];
    group.gr_gid = strtoul(groups.fields[2], NULL, 10);
    char *rest = groups.fields[3];
    while (*rest && count < 15) {
        members[count++] = rest;
        rest += strcspn(rest, ",");
        if (*rest) *rest++ = 0;
    }
    members[count] = NULL;
    group.gr_mem = members;
    return &group;
}

void setgrent(void) { finish(&groups); }
void endgrent(void) { finish(&groups); }

struct group *
getgrnam(const char *name)
{
    struct group *group;

    setgrent();
    while ((group = getgrent()) && strcmp(group->gr_name, name)) continue;
    endgrent();
    return group;
}

struct group *
getgrgid(gid_t number)
{
    struct group *group;

    setgrent();
    while ((group = getgrent()) && group->gr_gid != number) continue;
    endgrent();
    return group;
}
