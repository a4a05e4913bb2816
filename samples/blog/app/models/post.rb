class Post < ApplicationRecord
  has_one_attached :file

  validates :title, presence: true, length: { maximum: 100 }
  validates :body, presence: true
end
