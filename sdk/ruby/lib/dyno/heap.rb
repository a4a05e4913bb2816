# frozen_string_literal: true

module Dyno
  # Prepares the heap for copy-on-write. After a boot, free slots are scattered among the app's objects. A request would
  # allocate its few thousand objects there, and every page that it writes to becomes private to the dyno. Therefore
  # this module fills the free slots with permanent objects, and leaves whole free pages for the allocations of
  # requests.
  module Heap
    # Free pages per slot size, which suffice for some requests before the heap has to grow.
    FREE_PAGES = 2
    # Number of collections after which objects are old, so that minor collections skip them.
    OLD_AGE = 3
    # Bytes of a string's slot besides its text on a 32-bit machine: flags, class, length and the final NUL.
    STRING_HEADER = 13
    # Repeated, it makes a string that fills a slot. String.new would allocate a Hash for its keyword each time.
    ZERO = "\0"

    @plugs = []

    class << self
      # Fills the free slots, after the app is loaded and before its memory is saved.
      def settle
        GC.start
        GC.disable
        free = slot_sizes.each_with_index.map { |size, heap| plug(heap, size - STRING_HEADER) }
        free.clear
        GC.enable
        OLD_AGE.times { GC.start }
      end

      private

      def slot_sizes
        constants = GC::INTERNAL_CONSTANTS
        count = constants[:HEAP_COUNT] || constants[:SIZE_POOL_COUNT] || 0
        Array.new(count) { |heap| GC.stat_heap(heap, :slot_size) }
      end

      # Fills the free slots of one size, and returns the objects in the pages that shall become free.
      def plug(heap, length)
        before = pages(heap)
        most = GC.stat_heap(heap, :heap_eden_slots) + GC::INTERNAL_CONSTANTS[:HEAP_PAGE_OBJ_LIMIT] * (FREE_PAGES + 1)
        free = []
        most.times do
          break if pages(heap) > before + FREE_PAGES

          (pages(heap) > before ? free : @plugs) << (ZERO * length)
        end
        free
      end

      def pages(heap) = GC.stat_heap(heap, :heap_eden_pages)
    end
  end
end
