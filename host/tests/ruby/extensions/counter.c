/* An extension for tests: data, addresses of its own and of Ruby, callbacks, objects that only locals hold, and endless loops. */
#include <ruby.h>
#include <stdlib.h>
#include <string.h>

static VALUE point_class;
static ID id_call;
static int counter;
static const char *words[] = { "zero", "one", "two", "three" };

struct point {
    double x, y;
    VALUE tag;
};

static void
point_mark(void *point)
{
    rb_gc_mark(((struct point *)point)->tag);
}

static size_t
point_size(const void *point)
{
    return sizeof(struct point);
}

static const rb_data_type_t point_type = {
    "Counter::Point", { point_mark, RUBY_DEFAULT_FREE, point_size }, 0, 0, RUBY_TYPED_FREE_IMMEDIATELY,
};

static VALUE
point_allocate(VALUE class)
{
    struct point *point;
    return TypedData_Make_Struct(class, struct point, &point_type, point);
}

static VALUE
point_initialize(VALUE self, VALUE x, VALUE y, VALUE tag)
{
    struct point *point;
    TypedData_Get_Struct(self, struct point, &point_type, point);
    point->x = NUM2DBL(x);
    point->y = NUM2DBL(y);
    RB_OBJ_WRITE(self, &point->tag, tag);
    return self;
}

static VALUE
point_sum(VALUE self)
{
    struct point *point;
    TypedData_Get_Struct(self, struct point, &point_type, point);
    return rb_ary_new_from_args(2, DBL2NUM(point->x + point->y), point->tag);
}

static VALUE
counter_word(VALUE self, VALUE number)
{
    int index = NUM2INT(number);
    if (index < 0 || index > 3) rb_raise(rb_eArgError, "no word for %d", index);
    counter++;
    return rb_str_new_cstr(words[index]);
}

static VALUE
counter_count(VALUE self)
{
    return INT2NUM(counter);
}

static VALUE
call_block(VALUE block)
{
    return rb_funcall(block, id_call, 1, rb_str_new_cstr("argument"));
}

static VALUE
rescued(VALUE argument, VALUE error)
{
    return rb_sprintf("rescued %" PRIsVALUE, error);
}

static VALUE
counter_try(VALUE self, VALUE block)
{
    return rb_rescue(call_block, block, rescued, Qnil);
}

static VALUE
double_one(RB_BLOCK_CALL_FUNC_ARGLIST(item, list))
{
    rb_ary_push(list, rb_funcall(item, rb_intern("*"), 1, INT2FIX(2)));
    return Qnil;
}

static VALUE
counter_double(VALUE self, VALUE items)
{
    VALUE list = rb_ary_new();
    rb_block_call(items, rb_intern("each"), 0, NULL, double_one, list);
    return list;
}

/* Nothing but locals holds these strings while the collector runs. */
static VALUE
counter_collect(VALUE self, VALUE times)
{
    VALUE first = rb_str_new_cstr("first"), list = rb_ary_new();
    long count = NUM2LONG(times);
    for (long i = 0; i < count; i++) {
        VALUE item = rb_sprintf("item %ld", i);
        VALUE copy = rb_str_dup(item);
        rb_gc();
        rb_ary_push(list, rb_str_plus(item, copy));
    }
    return rb_str_append(first, rb_ary_join(list, rb_str_new_cstr(",")));
}

static int
compare(const void *left, const void *right)
{
    return *(const int *)left - *(const int *)right;
}

static VALUE
counter_sort(VALUE self, VALUE list)
{
    long count = RARRAY_LEN(list);
    int *numbers = malloc(count * sizeof *numbers);
    for (long i = 0; i < count; i++) numbers[i] = NUM2INT(rb_ary_entry(list, i));
    qsort(numbers, count, sizeof *numbers, compare);
    VALUE sorted = rb_ary_new();
    for (long i = 0; i < count; i++) rb_ary_push(sorted, INT2NUM(numbers[i]));
    free(numbers);
    return sorted;
}

static VALUE
counter_loop(VALUE self)
{
    for (volatile int turn = 0;; turn++) {}
    return Qnil;
}

static int
deep(volatile int depth)
{
    char space[200];
    memset(space, depth, sizeof space);
    return deep(depth + 1) + space[depth % 200];
}

static VALUE
counter_recurse(VALUE self)
{
    return INT2NUM(deep(0));
}

static VALUE
counter_crash(VALUE self)
{
    abort();
}

void
Init_counter(void)
{
    VALUE module = rb_define_module("Counter");
    id_call = rb_intern("call");
    point_class = rb_define_class_under(module, "Point", rb_cObject);
    rb_define_alloc_func(point_class, point_allocate);
    rb_define_method(point_class, "initialize", point_initialize, 3);
    rb_define_method(point_class, "sum", point_sum, 0);
    rb_define_module_function(module, "word", counter_word, 1);
    rb_define_module_function(module, "count", counter_count, 0);
    rb_define_module_function(module, "try", counter_try, 1);
    rb_define_module_function(module, "double", counter_double, 1);
    rb_define_module_function(module, "collect", counter_collect, 1);
    rb_define_module_function(module, "sort", counter_sort, 1);
    rb_define_module_function(module, "loop", counter_loop, 0);
    rb_define_module_function(module, "recurse", counter_recurse, 0);
    rb_define_module_function(module, "crash", counter_crash, 0);
}
