/* Declarations that the files of the Lua pack share, and functions that Lua's own sources call by the macros of build.sh. */
#ifndef DYNO_H
#define DYNO_H

#include <stddef.h>
#include <sys/types.h>

/* Descriptor of requests and responses. */
#define EXCHANGE 1000
/* Result of a failed call; the log has the reason. EX_SOFTWARE of sysexits.h. */
#define FAILED 70

/* Result of reading or serving a request. */
enum served { SERVED, NO_REQUEST, BROKEN };

struct lua_State;

/* system.c */
unsigned int dyno_seed(void);
int dyno_tmpnam(char *name);
ssize_t read_some(int descriptor, char *buffer, size_t size);
int send_all(const char *bytes, size_t length);
char *read_record(int descriptor, size_t *length);
char **command_line(int *count);
void set_environment(char *record, char *end);
int load_environment(void);

/* request.c */
enum served read_head(char **pairs, char **end);
void push_request(struct lua_State *l, char *pairs, char *end);
void register_requests(struct lua_State *l);

/* response.c */
int send_response(struct lua_State *l);
int response_has_begun(void);
void forget_response(void);

#endif
