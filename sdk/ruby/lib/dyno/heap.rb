# frozen_string_literal: true

module Dyno
  # Lays the heap out for copies of it. After a boot, free slots lie strewn among the app's objects; a request's few
  # thousand objects would go there, and every page that they write to is from then on private to the dyno. So the holes
  # are plugged with objects that stay, and whole free pages are left for what requests allocate.
  module Heap
    # Free pages left of each slot size, for what some requests allocate before the heap has to grow.
    FREE_PAGES = 2
    # After so many collections objects are old, and short collections pass them over.
    OLD_AGE = 3
    # A string has so many bytes in its slot beside its text: flags, class, length and the final NUL, in 32 bits.
    STRING_HEADER = 13

    @plugs = []

    class << self
      # Called when the app is loaded, before its memory is kept.
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

      # Plugs the holes of one slot size, and returns what stands in the pages that are to become free.
      def plug(heap, length)
        before = pages(heap)
        most = GC.stat_heap(heap, :heap_eden_slots) + GC::INTERNAL_CONSTANTS[:HEAP_PAGE_OBJ_LIMIT] * (FREE_PAGES + 1)
        free = []
        most.times do
          break if pages(heap) > before + FREE_PAGES

          (pages(heap) > before ? free : @plugs) << String.new(capacity: length)
        end
        free
      end

      def pages(heap) = GC.stat_heap(heap, :heap_eden_pages)
    end
  end
end
