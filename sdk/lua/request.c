/*
 * Requests: the head in SCGI's format, and the table that an app gets.
 */
#include <stdlib.h>
#include <string.h>

#include "lua.h"
#include "lauxlib.h"

#include "dyno.h"

/* Maximum size of a request's head; the router sends no larger one. */
#define HEAD_LIMIT (1 << 20)

/* Bytes of the current request that have been read, and the place of the first of them that no one has consumed. */
static char *head;
static size_t head_size, head_length, body_start;
/* True at the end of the current request's body. */
static int body_ended;

/*
 * Reads the head of the next request: a netstring of names and values, each with a NUL behind it. A read returns bytes
 * of the head or of the body, but the first may return less than the whole head.
 */
enum served
read_head(char **pairs, char **end)
{
    head_length = body_ended = 0;
    for (;;) {
        if (head_length == head_size) {
            size_t size = head_size ? head_size * 2 : 1 << 14;
            char *larger = size <= 2 * HEAD_LIMIT ? realloc(head, size) : NULL;
            if (larger == NULL) return BROKEN;
            head = larger;
            head_size = size;
        }
        ssize_t more = read_some(EXCHANGE, head + head_length, head_size - head_length);
        if (more < 0) return BROKEN;
        if (more == 0) return head_length == 0 ? NO_REQUEST : BROKEN;
        head_length += more;
        char *colon = memchr(head, ':', head_length < 8 ? head_length : 8);
        if (colon == NULL && head_length < 8) continue;
        if (colon == NULL || *head < '0' || *head > '9') return BROKEN;
        size_t length = strtoul(head, NULL, 10);
        if (length > HEAD_LIMIT) return BROKEN;
        *pairs = colon + 1;
        *end = *pairs + length;
        body_start = *end + 1 - head;
        if (head_length >= body_start) return **end == ',' ? SERVED : BROKEN;
    }
}

/* Returns at most `size` bytes of the body, 0 at its end, or -1 if it was interrupted. */
static ssize_t
read_body(char *buffer, size_t size)
{
    if (body_ended || size == 0) return 0;
    if (body_start < head_length) {
        size_t kept = head_length - body_start;
        if (kept > size) kept = size;
        memcpy(buffer, head + body_start, kept);
        body_start += kept;
        return kept;
    }
    ssize_t length = read_some(EXCHANGE, buffer, size);
    if (length <= 0) body_ended = 1;
    return length;
}

/* request:read([size]): bytes of the body as they arrive, or nil at its end. A loop passes the last piece as the size. */
static int
request_read(lua_State *l)
{
    lua_Integer size = lua_type(l, 2) == LUA_TNUMBER ? luaL_checkinteger(l, 2) : 1 << 16;
    luaL_argcheck(l, size > 0, 2, "must be positive");
    if (size > 1 << 20) size = 1 << 20;
    luaL_Buffer buffer;
    char *bytes = luaL_buffinitsize(l, &buffer, size);
    ssize_t length = read_body(bytes, size);
    if (length < 0) return luaL_error(l, "the client has interrupted the request's body");
    luaL_pushresultsize(&buffer, length);
    if (length == 0) lua_pushnil(l);
    return 1;
}

/* request.body: the whole body, or what request:read has left of it. It is read when the app asks for it. */
static int
request_index(lua_State *l)
{
    const char *key = lua_tostring(l, 2);
    if (key != NULL && strcmp(key, "read") == 0) {
        lua_pushcfunction(l, request_read);
        return 1;
    }
    if (key == NULL || strcmp(key, "body") != 0) return 0;
    luaL_Buffer buffer;
    luaL_buffinit(l, &buffer);
    for (;;) {
        ssize_t length = read_body(luaL_prepbuffsize(&buffer, 1 << 14), 1 << 14);
        if (length < 0) return luaL_error(l, "the client has interrupted the request's body");
        if (length == 0) break;
        luaL_addsize(&buffer, length);
    }
    luaL_pushresult(&buffer);
    lua_pushvalue(l, -1);
    lua_setfield(l, 1, "body");
    return 1;
}

/* Sets headers["accept-language"] for HTTP_ACCEPT_LANGUAGE. */
static void
push_header(lua_State *l, const char *name, const char *value)
{
    luaL_Buffer buffer;

    luaL_buffinit(l, &buffer);
    for (; *name; name++)
        luaL_addchar(&buffer, *name == '_' ? '-' : *name >= 'A' && *name <= 'Z' ? *name + 32 : *name);
    luaL_pushresult(&buffer);
    lua_pushstring(l, value);
    lua_rawset(l, -3);
}

/* Pushes the request: method, path, query, scheme, headers, env and body. */
void
push_request(lua_State *l, char *pair, char *end)
{
    lua_newtable(l);
    int request = lua_gettop(l);
    lua_newtable(l);
    lua_newtable(l);
    while (pair < end) {
        char *value = pair + strlen(pair) + 1;
        lua_pushstring(l, value);
        lua_setfield(l, request + 1, pair);
        if (strncmp(pair, "HTTP_", 5) == 0) push_header(l, pair + 5, value);
        else if (strcmp(pair, "CONTENT_TYPE") == 0) push_header(l, pair, value);
        else if (strcmp(pair, "CONTENT_LENGTH") == 0) {
            /* A body of unknown length has the length -1. */
            body_ended = strcmp(value, "0") == 0;
            if (*value != '-') push_header(l, pair, value);
        }
        pair = value + strlen(value) + 1;
    }
    static const char *const fields[][2] = {
        {"method", "REQUEST_METHOD"}, {"path", "PATH_INFO"}, {"query", "QUERY_STRING"}, {"scheme", "rack.url_scheme"},
    };
    for (size_t field = 0; field < sizeof fields / sizeof *fields; field++) {
        lua_getfield(l, request + 1, fields[field][1]);
        lua_setfield(l, request, fields[field][0]);
    }
    lua_setfield(l, request, "headers");
    lua_setfield(l, request, "env");
    luaL_setmetatable(l, "dyno.request");
}

/* Makes the metatable of requests. */
void
register_requests(lua_State *l)
{
    luaL_newmetatable(l, "dyno.request");
    lua_pushcfunction(l, request_index);
    lua_setfield(l, -2, "__index");
    lua_pop(l, 1);
}
