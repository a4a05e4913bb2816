class BooksController < ApplicationController
  before_action :find_book, only: %i[show update destroy]

  def index
    books = Book.order(:title).limit(100)
    books = books.where(author: params[:author]) if params[:author]
    render json: books if stale?(books)
  end

  def show
    render json: @book
  end

  def create
    book = Book.new(book_params)
    return render json: { errors: book.errors }, status: :unprocessable_entity unless book.save

    render json: book, status: :created, location: book
  end

  def update
    return render json: { errors: @book.errors }, status: :unprocessable_entity unless @book.update(book_params)

    render json: @book
  end

  def destroy
    @book.destroy!
    head :no_content
  end

  private

  def find_book
    @book = Book.find(params[:id])
  end

  def book_params
    params.require(:book).permit(:title, :author, :year)
  end
end
