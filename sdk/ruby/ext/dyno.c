/*
 * Implements the dyno ABI in MRI; replaces MRI's main.c.
 *
 * Ruby code (sdk/ruby/lib), which is the same for every build of MRI, implements the environment that an app sees. This
 * file contains the parts that are faster or only possible in C: the exports, parsing a request's head into a Rack env,
 * unbuffered reading and writing of the streams, and processor time.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <poll.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/times.h>
#include <time.h>
#include <unistd.h>
#include <wasi/api.h>

#include "vm_core.h"
#include "eval_intern.h"
#include "ruby/encoding.h"
#include "ruby/io.h"
#include "wasm/fiber.h"

#define EXPORT(name) __attribute__((export_name(#name))) name

/* Result of a failed call; the log has the reason. EX_SOFTWARE of sysexits.h. */
#define FAILED 70

/* Result of dyno_handle: the request was served, and the host should call dyno_idle. */
#define SERVED_WITH_THREADS (-1)
/* Result of dyno_idle: the dyno must end. */
#define IDLE_FAILED (-2)

/*
 * Descriptor of requests and responses, EXCHANGE_DESCRIPTOR of sdk/abi. The standard streams are those of any process:
 * what C code prints is in the log.
 */
#define EXCHANGE 1000

/* Bytes of the first read, which suffice for most heads. */
#define HEAD_SIZE (1 << 14)
/* Maximum size of a head; the router sends no larger one. */
#define HEAD_LIMIT (1 << 20)
/*
 * Bytes of C's stack that recursion may use before MRI raises SystemStackError. Most variables of C live on the engine's
 * own stack, whose overflow would trap. Functions take up to ten times as much of it as of this stack; the host provides
 * sixteen times as much. MRI checks its use when C calls methods and blocks; for other recursion see stack_low.
 */
#define STACK_SPACE (1 << 20)
/* Bytes by which MRI's checks may be late. */
#define STACK_MARGIN (64 << 10)
/* Size of the cache of header names; a power of two, several times the number of names that occur. */
#define NAMES 512

void __wasm_call_ctors(void);

/* Defined by mri/patches/options.patch: the load path of an interpreter that reads a second command line. */
extern VALUE rb_wasm_load_path;

static VALUE dyno;
static ID id_boot, id_restore, id_handle, id_run, id_full_message;

static VALUE
full_message(VALUE error)
{
    return rb_funcall(error, id_full_message, 0);
}

/* Writes the pending exception to the log. */
static void
log_exception(void)
{
    VALUE error = rb_errinfo();
    int state;

    rb_set_errinfo(Qnil);
    VALUE text = rb_protect(full_message, error, &state);
    if (state || !RB_TYPE_P(text, T_STRING)) {
        /* The interpreter cannot format a message at this time. */
        rb_set_errinfo(Qnil);
        dprintf(2, "%s\n", rb_obj_classname(error));
        return;
    }
    ssize_t written = write(2, RSTRING_PTR(text), RSTRING_LEN(text));
    (void)written;
    RB_GC_GUARD(text);
}

/* -- streams ------------------------------------------------------------------------------------------------------- */

/* INPUT.sysread(length, buffer = nil): same as IO#sysread, but without IO's buffer, encodings and locks. */
static VALUE
input_sysread(int argc, VALUE *argv, VALUE self)
{
    VALUE length, buffer;

    rb_scan_args(argc, argv, "11", &length, &buffer);
    long most = NUM2LONG(length);
    if (most < 0) rb_raise(rb_eArgError, "negative length %ld given", most);
    if (NIL_P(buffer)) {
        buffer = rb_str_new(NULL, most);
    }
    else {
        StringValue(buffer);
        rb_str_modify(buffer);
        rb_str_resize(buffer, most);
    }
    ssize_t got;
    /* Other threads run until the host has more of the body. */
    if (!rb_thread_alone()) rb_thread_wait_fd(EXCHANGE);
    do {
        got = read(EXCHANGE, RSTRING_PTR(buffer), most);
    } while (got < 0 && errno == EINTR);
    if (got < 0) rb_sys_fail("request");
    rb_str_set_len(buffer, got);
    if (got == 0 && most > 0) rb_eof_error();
    return buffer;
}

/* OUTPUT.syswrite(string): writes the whole string. */
static VALUE
output_syswrite(VALUE self, VALUE string)
{
    string = rb_obj_as_string(string);
    const char *bytes = RSTRING_PTR(string);
    size_t left = RSTRING_LEN(string);

    while (left > 0) {
        ssize_t written = write(EXCHANGE, bytes, left);
        if (written < 0) {
            if (errno == EINTR) continue;
            rb_sys_fail("response");
        }
        bytes += written;
        left -= written;
    }
    RB_GC_GUARD(string);
    return LONG2NUM(RSTRING_LEN(string));
}

/* Native.send_response: has the host send what has been written so far. */
static VALUE
native_send_response(VALUE self)
{
    struct pollfd exchange = { .fd = EXCHANGE, .events = POLLOUT };

    /* The host sends before it waits for anything. */
    poll(&exchange, 1, 0);
    return Qnil;
}

/* -- head of a request --------------------------------------------------------------------------------------------- */

static char head_buffer[HEAD_SIZE];
static VALUE names[NAMES];

/*
 * Returns a header's name as an interned string. String literals in apps are the same objects, so a lookup in the env
 * compares pointers.
 */
static VALUE
name_of(const char *bytes, size_t length)
{
    size_t slot = length;
    for (size_t i = 0; i < length; i++) slot = slot * 31 + (unsigned char)bytes[i];
    slot %= NAMES;
    VALUE known = names[slot];
    if (known && (size_t)RSTRING_LEN(known) == length && memcmp(RSTRING_PTR(known), bytes, length) == 0) {
        return known;
    }
    VALUE name = rb_enc_interned_str(bytes, length, rb_utf8_encoding());
    names[slot] = name;
    return name;
}

/* Reads more bytes of the request; raises EOFError at the end. */
static size_t
read_more(char *buffer, size_t size)
{
    ssize_t got;
    do {
        got = read(EXCHANGE, buffer, size);
    } while (got < 0 && errno == EINTR);
    if (got < 0) rb_sys_fail("request");
    if (got == 0) rb_eof_error();
    return got;
}

struct head {
    char *bytes;
    size_t have, size;
    VALUE env;
};

/* Reads a netstring of names and values (SCGI specification, "Request Format") into the Hash. */
static VALUE
read_head(VALUE argument)
{
    struct head *head = (struct head *)argument;
    size_t length = 0, at = 0;

    head->have = read_more(head->bytes, head->size);
    for (;;) {
        if (at == head->have) head->have += read_more(head->bytes + at, head->size - at);
        char c = head->bytes[at++];
        if (c == ':') break;
        if (c < '0' || c > '9' || length > HEAD_LIMIT) rb_raise(rb_eIOError, "the request is not a netstring");
        length = length * 10 + (c - '0');
    }
    size_t finish = at + length;
    if (finish >= head->size) {
        char *larger = malloc(finish + 1);
        if (!larger) rb_memerror();
        memcpy(larger, head->bytes, head->have);
        if (head->bytes != head_buffer) free(head->bytes);
        head->bytes = larger;
        head->size = finish + 1;
    }
    while (head->have <= finish) {
        head->have += read_more(head->bytes + head->have, head->size - head->have);
    }
    const char *p = head->bytes + at, *end = head->bytes + finish;
    while (p < end) {
        const char *name = p, *name_end = memchr(p, 0, end - p);
        if (!name_end || name_end + 1 >= end) break;
        const char *value = name_end + 1, *value_end = memchr(value, 0, end - value);
        if (!value_end) break;
        rb_hash_aset(head->env, name_of(name, name_end - name), rb_str_new(value, value_end - value));
        p = value_end + 1;
    }
    return rb_str_new(head->bytes + finish + 1, head->have - finish - 1);
}

static VALUE
free_head(VALUE argument)
{
    struct head *head = (struct head *)argument;
    if (head->bytes != head_buffer) free(head->bytes);
    return Qnil;
}

/*
 * Native.read_head(env): adds the next request's fields to env, and returns the bytes of its body that arrived with the
 * head.
 */
static VALUE
native_read_head(VALUE self, VALUE env)
{
    struct head head = { head_buffer, 0, sizeof head_buffer, env };
    return rb_ensure(read_head, (VALUE)&head, free_head, (VALUE)&head);
}

/* -- processor time ------------------------------------------------------------------------------------------------ */

/*
 * The processor time of the dyno. The functions below replace those of wasi-libc, which return the time that has passed.
 * All time counts as the user's, and that of threads cannot be told apart.
 */
static __wasi_timestamp_t
processor_time(void)
{
    __wasi_timestamp_t nanoseconds = 0;

    (void)__wasi_clock_time_get(__WASI_CLOCKID_PROCESS_CPUTIME_ID, 0, &nanoseconds);
    return nanoseconds;
}

clock_t
clock(void)
{
    return (clock_t)(processor_time() / (1000000000 / CLOCKS_PER_SEC));
}

int
getrusage(int who, struct rusage *usage)
{
    __wasi_timestamp_t nanoseconds = who == RUSAGE_CHILDREN ? 0 : processor_time();

    memset(usage, 0, sizeof(*usage));
    usage->ru_utime.tv_sec = nanoseconds / 1000000000;
    usage->ru_utime.tv_usec = nanoseconds % 1000000000 / 1000;
    return 0;
}

clock_t
times(struct tms *buffer)
{
    memset(buffer, 0, sizeof(*buffer));
    buffer->tms_utime = clock();
    return buffer->tms_utime;
}

/* -- signals ------------------------------------------------------------------------------------------------------- */

/* Returns the signals that the process has been sent since the last call; bit n stands for signal n. */
__attribute__((import_module("console"), import_name("signals"))) uint64_t console_signals(void);
/* Defined by mri/patches/signals.patch. */
extern void rb_wasm_signal(int signal);
extern void (*rb_receive_signals)(void);

/*
 * Passes the signals of the host on to the interpreter, which handles them on its main thread. MRI calls this where it
 * looks for the end of a time slice, and after it has waited.
 */
static void
receive_signals(void)
{
    uint64_t signals = console_signals();

    for (int signal = 1; signals != 0 && signal < 64; signal++) {
        if (!(signals >> signal & 1)) continue;
        signals &= ~(UINT64_C(1) << signal);
        rb_wasm_signal(signal);
    }
}

/* -- seeds --------------------------------------------------------------------------------------------------------- */

/* Defined by mri/patches/seeds.patch. */
extern void rb_hash_reseed(void);
extern void rb_random_forget(VALUE generator);

/* Native.reseed_hashes: changes the seed of the hashes of strings and other objects, and adapts all tables. */
static VALUE
native_reseed_hashes(VALUE self)
{
    rb_hash_reseed();
    return Qnil;
}

/* Native.forget(generator): makes a Random take a new seed before its next number; nil stands for Kernel#rand's. */
static VALUE
native_forget(VALUE self, VALUE generator)
{
    rb_random_forget(generator);
    return Qnil;
}

/* -- tools of a build ----------------------------------------------------------------------------------------------- */

/* Defined by mri/posix/users.c: the result of getpid. */
extern pid_t dyno_process_number;

/* Carries out a request of a build (host/src/tools.rs). Returns the length of the answer, or -1 in any other dyno. */
__attribute__((import_module("tool"), import_name("call"))) int64_t tool_call(const void *request, size_t size);
/* Copies the answer, once. */
__attribute__((import_module("tool"), import_name("take"))) void tool_take(void *buffer, size_t size);

/* Native.tool(request): asks the node to run a compiler, and returns its answer; nil in a dyno that is no build. */
static VALUE
native_tool(VALUE self, VALUE request)
{
    StringValue(request);
    int64_t length = tool_call(RSTRING_PTR(request), RSTRING_LEN(request));
    if (length < 0) return Qnil;
    VALUE answer = rb_str_new(NULL, (long)length);
    tool_take(RSTRING_PTR(answer), RSTRING_LEN(answer));
    RB_GC_GUARD(request);
    return answer;
}

/* Native.last_status = status: sets $? to the end of a process with an exit status. */
static VALUE
native_set_last_status(VALUE self, VALUE status)
{
    rb_last_status_set(NUM2INT(status) << 8, dyno_process_number + 1);
    return status;
}

/* A program that a build has just compiled runs in this process, as an extension with a main function. */
static jmp_buf program_ended;
static bool program_runs;

/* Such a program calls this in place of exit. */
__attribute__((used, noreturn)) void
dyno_program_exit(int status)
{
    if (program_runs) longjmp(program_ended, status + 1);
    exit(status);
}

static int
run_main(void *handle)
{
    static char name[] = "conftest";
    static char *arguments[] = { name, NULL };
    int (*plain)(void) = (int (*)(void))dlsym(handle, "__main_void");
    int (*with_arguments)(int, char **) = (int (*)(int, char **))dlsym(handle, "__main_argc_argv");
    int ended = setjmp(program_ended);

    if (ended) return ended - 1;
    program_runs = true;
    if (plain) return plain();
    return with_arguments ? with_arguments(1, arguments) : -1;
}

/* Native.run_program(path, output): runs a compiled program with its output in a file; returns its status, or a String that says why it cannot. */
static VALUE
native_run_program(VALUE self, VALUE path, VALUE output)
{
    void *handle = dlopen(StringValueCStr(path), RTLD_NOW);
    if (!handle) return rb_str_new_cstr(dlerror());
    int to = open(StringValueCStr(output), O_WRONLY | O_CREAT | O_TRUNC, 0666), saved = dup(1);
    if (to < 0 || saved < 0) rb_sys_fail("output");
    fflush(stdout);
    dup2(to, 1);
    int status = run_main(handle);
    program_runs = false;
    fflush(stdout);
    dup2(saved, 1);
    close(saved);
    close(to);
    return INT2NUM(status & 0xff);
}

/* -- stack --------------------------------------------------------------------------------------------------------- */

/* Defined by MRI; raises SystemStackError. */
NORETURN(extern void rb_ec_stack_overflow(rb_execution_context_t *ec, int is_fatal));

/*
 * Any function in C calls this if the stack pointer is below rb_wasm_stack_limit (sdk/pack/src/stack_limit.rs). It
 * allocates nothing, because its callers' pointers are not on the stack in memory. The collector, and the code that finds
 * the handler of the exception, may use the rest of the stack.
 */
__attribute__((used)) void
stack_low(void)
{
    rb_execution_context_t *ec = GET_EC();

    if (!ec || rb_during_gc() || rb_ec_raised_p(ec, RAISED_STACKOVERFLOW)) return;
    rb_ec_raised_set(ec, RAISED_STACKOVERFLOW);
    rb_ec_stack_overflow(ec, FALSE);
}

/* -- other files --------------------------------------------------------------------------------------------------- */

/* Defined by mri/memory/free_blocks.c. */
void dyno_settle_free_blocks(void);

/* Defined by mri/patches/fibers.patch and mri/patches/threads.patch. */
int rb_wasm_fibers_forget(void);
int rb_wasm_threads_forget(void);
bool rb_wasm_threads_pending(void);
int64_t rb_wasm_threads_run(void);

/* -- waiting for names --------------------------------------------------------------------------------------------- */

/* Set here; sdk/ruby/mri/net/names.c calls them while it waits for a name. */
extern int (*dyno_wait_readable)(int fd);
extern void (*dyno_resume)(int state);

static VALUE
wait_readable(VALUE fd)
{
    rb_thread_wait_fd(FIX2INT(fd));
    return Qnil;
}

/* Waits as Ruby's own reads do, so that other threads run and a timeout can end the wait. */
static int
wait_readable_protected(int fd)
{
    int state;
    rb_protect(wait_readable, INT2FIX(fd), &state);
    return state;
}

/* -- the ABI ------------------------------------------------------------------------------------------------------- */

static VALUE
load_prelude(VALUE unused)
{
    rb_require("/usr/lib/corundum/dyno");
    return rb_const_get(rb_cObject, rb_intern("Dyno"));
}

/* Native.process_number = number: sets the result of Process.pid and $$. */
static VALUE
native_set_process_number(VALUE self, VALUE number)
{
    dyno_process_number = NUM2PIDT(number);
    return number;
}

#if defined(RB_WASM_PROFILE)
#include "profile/runtime.h"

/* profile: returns the counters of a build that records a profile. */
__attribute__((no_profile_instrument_function)) static VALUE
native_profile(VALUE self)
{
    size_t size = rb_wasm_profile(NULL);
    char *buffer = malloc(size);
    if (!buffer) rb_memerror();
    rb_wasm_profile(buffer);
    VALUE dump = rb_str_new(buffer, size);
    free(buffer);
    return dump;
}
#endif

static void
define_native(void)
{
    VALUE module = rb_define_module("Dyno");
    VALUE native = rb_define_module_under(module, "Native");
    VALUE input = rb_define_module_under(native, "Input");
    VALUE output = rb_define_module_under(native, "Output");

    rb_receive_signals = receive_signals;
    dyno_wait_readable = wait_readable_protected;
    dyno_resume = rb_jump_tag;
    for (int i = 0; i < NAMES; i++) rb_gc_register_address(&names[i]);
    rb_define_module_function(native, "read_head", native_read_head, 1);
    rb_define_module_function(native, "tool", native_tool, 1);
    rb_define_module_function(native, "last_status=", native_set_last_status, 1);
    rb_define_module_function(native, "run_program", native_run_program, 2);
    rb_define_module_function(native, "reseed_hashes", native_reseed_hashes, 0);
    rb_define_module_function(native, "forget", native_forget, 1);
    rb_define_module_function(native, "send_response", native_send_response, 0);
    rb_define_module_function(native, "process_number=", native_set_process_number, 1);
#if defined(RB_WASM_PROFILE)
    rb_define_module_function(native, "profile", native_profile, 0);
#endif
    rb_define_method(input, "sysread", input_sysread, -1);
    rb_define_method(output, "syswrite", output_syswrite, 1);
}

void
EXPORT(_initialize)(void)
{
    static char program[] = "ruby", utf8[] = "-EUTF-8", warn[] = "-W1", script[] = "-e_=0";
    static char *arguments[] = { program, utf8, warn, script, NULL };
    int argc = 4, state;
    char **argv = arguments;

    __wasm_call_ctors();
    rb_wasm_stack_limit = (char *)rb_wasm_stack_get_base() - STACK_SPACE - STACK_MARGIN;
    /* The encoding of names, variables and arguments, whatever LANG says: the platform's strings are UTF-8. */
    setlocale(LC_CTYPE, "C.UTF-8");
    ruby_sysinit(&argc, &argv);
    {
        RUBY_INIT_STACK;
        if (ruby_setup()) {
            log_exception();
            abort();
        }
        GET_EC()->machine.stack_maxsize = STACK_SPACE;
        /* Loads RubyGems and sets the encodings. The script does nothing, and is not run. */
        ruby_options(argc, argv);
        define_native();
        id_boot = rb_intern("boot");
        id_restore = rb_intern("restore");
        id_handle = rb_intern("handle");
        id_run = rb_intern("run");
        id_full_message = rb_intern("full_message");
        rb_gc_register_address(&dyno);
        rb_gc_register_address(&rb_wasm_load_path);
        dyno = rb_protect(load_prelude, Qnil, &state);
        if (state) {
            log_exception();
            abort();
        }
    }
}

static VALUE
call(VALUE method)
{
    return rb_funcall(dyno, (ID)method, 0);
}

static int
status_of(ID method)
{
    int state;
    VALUE status = rb_protect(call, (VALUE)method, &state);
    if (state) {
        log_exception();
        return FAILED;
    }
    return FIXNUM_P(status) ? FIX2INT(status) : FAILED;
}

int
EXPORT(dyno_boot)(void)
{
    int status = status_of(id_boot);
    if (status == 0) {
        int threads = rb_wasm_threads_forget();
        if (threads) dprintf(2, "%d threads ended with the boot, as in a process after fork: start them again in an after-fork hook or in a request\n", threads);
        rb_wasm_fibers_forget();
        dyno_settle_free_blocks();
    }
    return status;
}

int
EXPORT(dyno_restore)(void)
{
    return status_of(id_restore);
}

int
EXPORT(dyno_handle)(void)
{
    int status = status_of(id_handle);
    return status == 0 && rb_wasm_threads_pending() ? SERVED_WITH_THREADS : status;
}

static VALUE
run_threads(VALUE next)
{
    *(int64_t *)next = rb_wasm_threads_run();
    return Qnil;
}

/* Lets threads run between two requests, at most for a time slice. */
int64_t
EXPORT(dyno_idle)(void)
{
    int64_t next = IDLE_FAILED;
    int state;

    rb_protect(run_threads, (VALUE)&next, &state);
    if (state) {
        /* Another thread has raised it in the main thread, which ends the process. */
        log_exception();
        return IDLE_FAILED;
    }
    return next;
}

/* Copies the strings of an Array for ruby_options, which keeps pointers to them. */
static char **
argument_vector(VALUE command, int *argc)
{
    long count = RARRAY_LEN(command);
    char **argv = calloc(count + 1, sizeof *argv);

    if (!argv) rb_memerror();
    for (long i = 0; i < count; i++) {
        VALUE argument = rb_ary_entry(command, i);
        argv[i] = strdup(StringValueCStr(argument));
        if (!argv[i]) rb_memerror();
    }
    *argc = (int)count;
    return argv;
}

/*
 * Dyno.run returns the status of a command that it has carried out, or the command line of `ruby`. MRI reads the latter
 * itself, runs the program and ends as any process does: with handlers of at_exit, messages and statuses.
 */
int
EXPORT(dyno_run)(void)
{
    int state, argc;

    VALUE command = rb_protect(call, (VALUE)id_run, &state);
    if (state) {
        log_exception();
        return FAILED;
    }
    if (FIXNUM_P(command)) return FIX2INT(command);
    if (!RB_TYPE_P(command, T_ARRAY)) return FAILED;
    char **argv = argument_vector(command, &argc);
    /* Options add directories in front of these. */
    rb_wasm_load_path = rb_ary_dup(GET_VM()->load_path);
    rb_ary_clear(GET_VM()->load_path);
    int status = ruby_run_node(ruby_options(argc, argv));
    /* Some options print by C's own streams. */
    fflush(NULL);
    return status;
}

/*
 * Returns the address of the pointer to the running fiber's context. At the end of a time slice, the host sets the lowest
 * bit of the context's flags of pending interrupts, which are at the offset below.
 */
void *
EXPORT(dyno_interrupt)(void)
{
    return (void *)&ruby_current_ec;
}

int
EXPORT(dyno_interrupt_offset)(void)
{
    return offsetof(rb_execution_context_t, interrupt_flag);
}
