class Book < ApplicationRecord
  validates :title, :author, presence: true
  validates :title, uniqueness: { scope: :author }
  validates :year, numericality: { only_integer: true }, allow_nil: true
end
