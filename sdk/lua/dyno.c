/*
 * Implements the dyno ABI for Lua 5.4.
 *
 * An app is a file that returns a function: it gets a request, and returns a status, a table of headers and a body. The
 * host calls the functions marked EXPORT; docs/writing-a-pack.md describes when. Requests and responses pass through
 * descriptor 1000: SCGI in, CGI out.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lua.h"
#include "lauxlib.h"
#include "lualib.h"

#include "dyno.h"

#define EXPORT(name) __attribute__((export_name(#name))) name

/* Keys of the registry: the app's function, the function that adds a backtrace, and math.randomseed. */
#define APP ((void *)1)
#define TRACE ((void *)2)
#define SEED ((void *)3)
/* The places of modules. Lua adds its own for the two semicolons. */
#define MODULES                                                                                                    \
    "/app/?.lua;/app/?/init.lua;/app/lua_modules/share/lua/5.4/?.lua;/app/lua_modules/share/lua/5.4/?/init.lua;;"

/* Defined by lua.c. */
int lua_main(int argc, char **argv);

static lua_State *L;

/* Turns any error into a text with a backtrace. */
static int
add_trace(lua_State *l)
{
    const char *text = luaL_tolstring(l, 1, NULL);
    luaL_traceback(l, l, text, 1);
    return 1;
}

/* Writes the error on top of the stack to the log. */
static int
fail(void)
{
    const char *text = lua_tostring(L, -1);
    fprintf(stderr, "%s\n", text ? text : "error without a message");
    lua_settop(L, 0);
    return FAILED;
}

/* Calls the app with the request whose head is at the light pointer, and writes its response. */
static int
respond(lua_State *l)
{
    char **range = lua_touserdata(l, 1);
    lua_settop(l, 0);
    lua_rawgetp(l, LUA_REGISTRYINDEX, APP);
    push_request(l, range[0], range[1]);
    lua_call(l, 1, 3);
    return send_response(l);
}

/* Serves the next request. An error before the head of the response is a response with the status 500. */
static enum served
serve(void)
{
    char *range[2];
    enum served result = read_head(&range[0], &range[1]);
    if (result != SERVED) return result;
    forget_response();
    lua_settop(L, 0);
    lua_rawgetp(L, LUA_REGISTRYINDEX, TRACE);
    lua_pushcfunction(L, respond);
    lua_pushlightuserdata(L, range);
    if (lua_pcall(L, 1, 0, 1) != LUA_OK) {
        static const char error[] =
            "Status: 500\nContent-Type: text/plain\nContent-Length: 22\n\nInternal Server Error\n";
        fail();
        /* The host ends a response that has begun, and the dyno with it. */
        if (response_has_begun() || send_all(error, sizeof error - 1)) result = BROKEN;
    }
    fflush(NULL);
    lua_settop(L, 0);
    return result;
}

/* Prepares the C library for this process, whose memory may be that of the pack's preparation. */
static int
start(void)
{
    if (load_environment()) {
        fputs("the environment cannot be read\n", stderr);
        return FAILED;
    }
    if (getenv("LUA_PATH") == NULL) setenv("LUA_PATH_5_4", MODULES, 0);
    setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
    return chdir("/app") ? FAILED : 0;
}

/* Makes the interpreter. It happens in each app, so that no two apps have the same seed of hashes. */
static int
open_lua(int count, char **words)
{
    L = luaL_newstate();
    if (L == NULL) {
        fputs("no memory for Lua\n", stderr);
        return FAILED;
    }
    luaL_openlibs(L);
    register_requests(L);
    lua_pushcfunction(L, add_trace);
    lua_rawsetp(L, LUA_REGISTRYINDEX, TRACE);
    lua_getglobal(L, LUA_MATHLIBNAME);
    lua_getfield(L, -1, "randomseed");
    lua_rawsetp(L, LUA_REGISTRYINDEX, SEED);
    lua_newtable(L);
    for (int word = 0; word < count; word++) {
        lua_pushstring(L, words[word]);
        lua_rawseti(L, -2, word - 1);
    }
    lua_setglobal(L, "arg");
    lua_settop(L, 0);
    return 0;
}

/* Loads the file of the command `lua FILE`, which returns the app's function. */
int
EXPORT(dyno_boot)(void)
{
    int count;

    if (start()) return FAILED;
    char **words = command_line(&count);
    if (open_lua(count, words)) return FAILED;
    const char *file = count > 1 ? words[1] : "app.lua";
    if (count > 0 && strcmp(words[0], "lua") != 0) {
        fprintf(stderr, "%s: the web process of a Lua app is `lua FILE`\n", words[0]);
        return FAILED;
    }
    lua_rawgetp(L, LUA_REGISTRYINDEX, TRACE);
    if (luaL_loadfile(L, file) || lua_pcall(L, 0, 1, 1)) return fail();
    if (!lua_isfunction(L, -1)) {
        fprintf(stderr, "%s returns no function, but a %s; end it with `return function(request) ... end`\n", file,
                luaL_typename(L, -1));
        return FAILED;
    }
    lua_rawsetp(L, LUA_REGISTRYINDEX, APP);
    lua_settop(L, 0);
    /* Two rounds of sample requests. Between them the heap settles. */
    for (int round = 0; round < 2; round++) {
        enum served served;
        while ((served = serve()) == SERVED) ;
        if (served == BROKEN) return FAILED;
        lua_gc(L, LUA_GCCOLLECT);
    }
    fflush(NULL);
    return 0;
}

/* Takes the environment of the new dyno, and makes its random numbers its own. */
int
EXPORT(dyno_restore)(void)
{
    size_t length;
    lua_Integer seeds[2];
    char *record = read_record(EXCHANGE, &length);

    if (record == NULL || getentropy(seeds, sizeof seeds)) {
        fputs("the dyno's environment cannot be read\n", stderr);
        return FAILED;
    }
    /* The number of the process comes first. */
    set_environment(record + strlen(record) + 1, record + length);
    free(record);
    lua_settop(L, 0);
    lua_rawgetp(L, LUA_REGISTRYINDEX, SEED);
    lua_pushinteger(L, seeds[0]);
    lua_pushinteger(L, seeds[1]);
    if (lua_pcall(L, 2, 0, 0)) return fail();
    lua_settop(L, 0);
    return 0;
}

int
EXPORT(dyno_handle)(void)
{
    return serve() == SERVED ? 0 : FAILED;
}

/* Runs `lua ARGUMENTS`, or a script of the app. */
int
EXPORT(dyno_run)(void)
{
    int count;

    if (start()) return FAILED;
    char **words = command_line(&count);
    if (count == 0) return FAILED;
    size_t length = strlen(words[0]);
    if (strcmp(words[0], "lua") != 0) {
        if (length < 4 || strcmp(words[0] + length - 4, ".lua") != 0) {
            fprintf(stderr, "%s: command not found; the commands are lua and scripts that end in .lua\n", words[0]);
            return 127;
        }
        /* The array has room for one word more. */
        memmove(words + 1, words, (count + 1) * sizeof *words);
        words[0] = "lua";
        count++;
    }
    int status = lua_main(count, words);
    fflush(NULL);
    return status;
}
