/*
 * Responses: a status, a table of headers and a body, written in CGI's format.
 */
#include <string.h>

#include "lua.h"
#include "lauxlib.h"

#include "dyno.h"

/* True once the head of the current response has been written. */
static int response_begun;

int
response_has_begun(void)
{
    return response_begun;
}

void
forget_response(void)
{
    response_begun = 0;
}

/* Adds the line of a header. A line break in it would begin another header. */
static void
add_header(lua_State *l, luaL_Buffer *buffer, int name, int value)
{
    size_t name_length, value_length;
    const char *text = luaL_tolstring(l, value, &value_length);
    const char *key = lua_tolstring(l, name, &name_length);

    if (lua_type(l, name) != LUA_TSTRING || name_length == 0 || strpbrk(key, ": \t\r\n") || strlen(key) != name_length)
        luaL_error(l, "invalid name of a header: %s", luaL_tolstring(l, name, NULL));
    if (strpbrk(text, "\r\n") || strlen(text) != value_length)
        luaL_error(l, "the value of the header %s has a line break or a NUL", key);
    lua_pushfstring(l, "%s: %s\n", key, text);
    lua_remove(l, -2);
    luaL_addvalue(buffer);
}

/* Writes the head of the response whose status is at the index 1, and whose headers are at 2. */
static void
send_head(lua_State *l)
{
    luaL_Buffer buffer;
    int is_integer;
    lua_Integer status = lua_tointegerx(l, 1, &is_integer);

    if (!is_integer || status < 200 || status > 599)
        luaL_error(l, "the app returned no status from 200 to 599, but %s", luaL_tolstring(l, 1, NULL));
    if (!lua_isnoneornil(l, 2) && !lua_istable(l, 2))
        luaL_error(l, "the headers are no table, but a %s", luaL_typename(l, 2));
    lua_settop(l, 3);
    lua_newtable(l);
    int lines = 0;
    if (lua_istable(l, 2)) {
        for (lua_pushnil(l); lua_next(l, 2); lua_settop(l, 5)) {
            /* A list of values makes a header for each of them. */
            lua_Integer values = lua_istable(l, 6) ? luaL_len(l, 6) : 1;
            for (lua_Integer index = 1; index <= values; index++) {
                lua_settop(l, 6);
                if (lua_istable(l, 6)) lua_geti(l, 6, index);
                else lua_pushvalue(l, 6);
                lua_pushvalue(l, 5);
                luaL_buffinit(l, &buffer);
                add_header(l, &buffer, 8, 7);
                luaL_pushresult(&buffer);
                lua_rawseti(l, 4, ++lines);
            }
        }
    }
    lua_settop(l, 4);
    luaL_buffinit(l, &buffer);
    lua_pushfstring(l, "Status: %d\n", (int)status);
    luaL_addvalue(&buffer);
    for (int line = 1; line <= lines; line++) {
        lua_rawgeti(l, 4, line);
        luaL_addvalue(&buffer);
    }
    luaL_addchar(&buffer, '\n');
    luaL_pushresult(&buffer);
    size_t length;
    const char *text = lua_tolstring(l, -1, &length);
    response_begun = 1;
    if (send_all(text, length)) luaL_error(l, "the client is gone");
}

static void
send_piece(lua_State *l, int index)
{
    size_t length;
    const char *bytes = lua_tolstring(l, index, &length);

    if (bytes == NULL) luaL_error(l, "a piece of the body is no string, but a %s", luaL_typename(l, index));
    if (send_all(bytes, length)) luaL_error(l, "the client is gone");
}

/* Writes the response of status, headers and body at the indices 1 to 3. The body is a string, a list of strings, or a function
   that returns the next piece until it returns nil. */
int
send_response(lua_State *l)
{
    send_head(l);
    lua_settop(l, 3);
    if (lua_isfunction(l, 3)) {
        for (;;) {
            lua_settop(l, 3);
            lua_pushvalue(l, 3);
            lua_call(l, 0, 1);
            if (lua_isnil(l, 4)) break;
            send_piece(l, 4);
        }
    } else if (lua_istable(l, 3)) {
        lua_Integer pieces = luaL_len(l, 3);
        for (lua_Integer piece = 1; piece <= pieces; piece++) {
            lua_settop(l, 3);
            lua_geti(l, 3, piece);
            send_piece(l, 4);
        }
    } else if (!lua_isnil(l, 3)) {
        send_piece(l, 3);
    }
    return 0;
}

